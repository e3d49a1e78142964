import { Failure } from '../failure.ts';
import { type Flag, list } from '../flags.ts';

/**
 * virt-install's further flags, so that people's notes still work: those that ask for what every machine has anyway are
 * taken, those that ask for more are refused by name, with the way to what is meant.
 */
const foreign: Readonly<Record<string, { fine?: RegExp; hint: string }>> = {
  serial: {
    fine: /^(pty|none)?(,|$)/,
    hint: 'the serial console is always there: isle vm console, isle logs',
  },
  console: {
    fine: /^(pty|none)?(,|$)/,
    hint: 'the serial console is always there: isle vm console, isle logs',
  },
  channel: { fine: /^(none|.*(guest_agent|spicevmc).*)$/, hint: "the guest agent's channel is always there" },
  rng: {
    fine: /^(\/dev\/u?random|none|builtin|default|.*random.*)$/,
    hint: 'every machine has a source of randomness',
  },
  memballoon: { fine: /^(model=)?(virtio|none)/, hint: 'every machine has a balloon' },
  video: { fine: /./, hint: 'Isle chooses the graphics card' },
  input: {
    fine: /^(type=)?(tablet|keyboard|mouse|none)/,
    hint: 'a machine with a screen has a keyboard and a tablet',
  },
  sound: { fine: /^(none|default)$/, hint: 'machines make no sound' },
  audio: { fine: /^(id=\d+,)?(type=)?none$/, hint: 'machines make no sound' },
  controller: {
    fine: /^(type=)?(usb|scsi|virtio-serial|pci|sata)\b/,
    hint: 'Isle adds the controllers that disks and devices need',
  },
  features: {
    fine: /^((acpi|apic|pae|smm\.state|vmport\.state|kvm[._]hidden(\.state)?)=?\w*,?)+$/,
    hint: 'Isle sets what the guest’s system needs',
  },
  clock: { fine: /^offset=utc/, hint: 'the clock is UTC; set the time zone inside of the guest' },
  pm: { fine: /./, hint: 'sleep states are not offered' },
  watchdog: { fine: /^none$/, hint: 'say --restart on-failure' },
  panic: { fine: /^none$/, hint: 'a guest that panics is seen by its console' },
  redirdev: { fine: /^none$/, hint: 'USB devices are passed through with --hostdev' },
  smartcard: { fine: /^none$/, hint: 'smart cards are not passed through' },
  vsock: { fine: /^none$/, hint: 'take a network' },
  iommu: { fine: /^none$/, hint: 'guests get no IOMMU of their own' },
  seclabel: { fine: /^(type=)?(none|dynamic)/, hint: 'every monitor is confined, in a container of its own' },
  security: { fine: /^(type=)?(none|dynamic)/, hint: 'every monitor is confined, in a container of its own' },
  // Of older versions of virt-install: most notes are older than what they are used with.
  'os-type': { fine: /./, hint: 'say --os-variant' },
  keymap: { fine: /./, hint: 'viewers say what was typed, whatever the keyboard' },
  iothreads: { fine: /./, hint: 'Isle chooses' },
  nographics: { hint: 'say --graphics none' },
  vnc: { hint: 'say --graphics vnc' },
  nonetworks: { hint: 'say --network none' },
  nodisks: { hint: 'say --disk none' },
  file: { hint: 'say --disk path=FILE' },
  'file-size': { hint: 'say --disk size=GIB' },
  mac: { hint: 'say --network NAME,mac=…' },
  bridge: { hint: 'machines are on networks of Isle’s: isle network create' },
  reinstall: { hint: 'say isle vm change-media and isle vm edit --boot cdrom,hd' },
  location: { hint: 'download the installation CD and say --cdrom FILE' },
  install: {
    hint: 'download the installation CD and say --cdrom FILE, or take a cloud image with --image FILE',
  },
  unattended: { hint: 'take a cloud image with --image FILE and --cloud-init' },
  'initrd-inject': { hint: 'take --boot kernel=FILE,initrd=FILE with an initrd that holds it' },
  'extra-args': { hint: 'they go with a kernel: --boot kernel=FILE,initrd=FILE,kernel_args=…' },
  memorybacking: { hint: 'Isle takes memory as the host gives it' },
  memtune: { hint: 'the memory of a machine is its limit' },
  memdev: { hint: 'say --memory 2048,maxmemory=4096 and add with isle vm setmem' },
  numatune: { hint: 'say --vcpus 2,cpuset=0-1' },
  blkiotune: { hint: 'limit a disk: --disk …,read_bytes_sec=N' },
  cputune: { hint: 'say --cpus N' },
  resource: { hint: 'say --cpus N' },
  parallel: { hint: 'there is no parallel port' },
  shmem: { hint: 'share a directory with --filesystem SOURCE,TAG' },
  'qemu-commandline': { hint: 'QEMU is started by Isle alone' },
  sysinfo: { hint: 'say what the guest shall know by --cloud-init' },
  launchSecurity: { hint: 'encrypted memory is not offered' },
  launchsecurity: { hint: 'encrypted memory is not offered' },
  xml: { hint: 'machines have no XML here: isle vm edit, isle vm show' },
  transient: { hint: 'machines stay until isle vm remove' },
  'destroy-on-exit': { hint: 'machines run on; isle vm destroy ends one' },
  paravirt: { hint: 'Xen is not used' },
  container: { hint: 'for a container: isle run' },
  idmap: { hint: 'for a container: isle run --userns' },
};

/** Without a value, and without effect. */
const idleSwitches = [
  'hvm',
  'accelerate',
  'noautoconsole',
  'noapic',
  'noacpi',
  'check-cpu',
  'prompt',
  'force',
  'livecd',
  'debug',
];
const needsValue = (name: string) =>
  ![
    ...['paravirt', 'transient', 'destroy-on-exit', 'unattended', 'container'],
    ...['nographics', 'vnc', 'nonetworks', 'nodisks'],
  ].includes(name);

type Foreign = Record<string, Flag<string[]>>;

/** Hidden: help shows what counts. */
export const foreignFlags: Foreign = Object.fromEntries([
  ...Object.entries(foreign).map(([name, known]) => [name, foreignFlag(known, needsValue(name))]),
  ...idleSwitches.map((name) => [name, foreignFlag({ fine: /./, hint: '' }, false)]),
]) as Foreign;

export function foreignGiven(flags: object, name: string): boolean {
  const given: unknown = Object.entries(flags).find(([key]) => key === name)?.[1];
  return Array.isArray(given) && given.length > 0;
}

function foreignFlag({ fine, hint }: { fine?: RegExp; hint: string }, valued: boolean): Flag<string[]> {
  const next = (given: string, previous: string[]) => {
    if (fine?.test(given)) return [...previous, given];
    throw new Failure(`not supported: ${hint}`);
  };
  const { value, ...bare } = list('As virt-install’s');
  return { ...bare, ...(valued && { value: value ?? 'string' }), hidden: true, next };
}

/** What happens when the guest ends, in virt-install's words: only its own defaults. */
export function parseEvents(given: string): string {
  for (const event of given.split(',')) {
    const [name, action] = event.split('=', 2);
    const usual: Record<string, string[]> = {
      on_poweroff: ['destroy'],
      on_reboot: ['restart'],
      on_crash: ['destroy', 'restart'],
      on_lockfailure: ['ignore'],
    };
    const known = Object.hasOwn(usual, name ?? '') ? usual[name ?? ''] : undefined;
    if (!known?.includes(action ?? ''))
      throw new Failure(
        `${event} is not supported: a guest that powers off is off, one that reboots comes up again; for more say --restart`,
      );
  }
  return given;
}

/** `qemu:///system` is what everybody writes; another host cannot be meant. */
export function parseConnect(given: string): string {
  if (/^(qemu:\/\/\/(system|session)?|test:.*)$/.test(given)) return given;
  throw new Failure(`machines are made by the engine that isle talks to: isle --host ADDRESS vm create …`);
}
