import { autostartFlags } from '../container/autostart.ts';
import { parseCpus } from '../container/cpus.ts';
import { Failure } from '../failure.ts';
import { boolean, each, type Flag, integer, list, parsed, text, type Values } from '../flags.ts';
import { parseBoot } from './boot.ts';
import {
  parseArch,
  parseFilesystem,
  parseGraphics,
  parseHostDevice,
  parseTpm,
  parseType,
  parseVirtType,
} from './devices.ts';
import { parseChecksum, parseDisk, parseImage } from './disk.ts';
import { foreignFlags, parseConnect, parseEvents } from './foreign-flags.ts';
import { parseCpu, parseMemory, parseVcpus } from './memory.ts';
import { parseNic } from './network.ts';
import { osVariants, parseOsVariant } from './os-variant.ts';

const hardware = {
  memory: parsed('Memory in MiB, or with a unit (2G): 2048[,maxmemory=4096]', parseMemory, {
    aliases: ['ram'],
    short: 'r',
    value: 'size',
  }),
  vcpus: parsed('Number of processors: 2[,maxvcpus=4][,cpuset=0-1]', parseVcpus, { value: 'count' }),
  cpu: parsed(
    'Model: host (default), or one of QEMU’s with features: EPYC,+svm,disable=vmx',
    (given) => ({ model: parseCpu(given) }),
    { value: 'model' },
  ),
  disk: each(
    'A disk: size=GIB, path=FILE, vol=DISK or backing_store=DISK; format=qcow2|raw, bus=virtio|scsi|sata|ide|nvme, cache=, discard=unmap, readonly=on, serial=, device=cdrom, boot_order=, read_bytes_sec=, write_iops_sec=, …; or none',
    parseDisk,
    { value: 'options', complete: 'file' },
  ),
  cdrom: text('Installation CD; boots while the disk is empty', {
    value: 'file',
    complete: 'file',
    short: 'c',
  }),
  image: parsed(
    'Cloud image or other disk image, copied to the first disk: FILE[,format=qcow2][,size=GIB]',
    parseImage,
    { value: 'file', complete: 'file' },
  ),
  checksum: parsed('Of --image: sha256:… or sha512:…', parseChecksum, { value: 'digest' }),
  import: parsed(
    'Alone: boot from the --disk given, install nothing. FILE: bring in another hypervisor’s export',
    (given) => given,
    { value: '[file]', optional: isPath, complete: 'file' },
  ),
  'os-variant': parsed(
    'Guest’s system, as osinfo-db names it; decides what is not said',
    (given) => ({ name: parseOsVariant(given) }),
    { aliases: ['osinfo'], value: 'name', complete: osVariants },
  ),
  boot: each(
    'uefi, uefi-secure, the order hd,cdrom,network, or kernel=FILE,initrd=FILE,kernel_args=…',
    parseBoot,
    { value: 'options', complete: ['uefi', 'uefi-secure', 'hd', 'cdrom', 'network', 'kernel='] },
  ),
  machine: parsed('Board: q35, microvm, virt', parseType, {
    value: 'type',
    complete: ['q35', 'microvm', 'virt'],
  }),
  arch: parsed('Processor: x86_64, aarch64, riscv64; other than the host’s are emulated', parseArch, {
    value: 'name',
    complete: ['x86_64', 'aarch64', 'riscv64'],
  }),
  'virt-type': parsed('kvm, or qemu for emulation; default: KVM where it works', parseVirtType, {
    value: 'type',
    complete: ['kvm', 'qemu'],
  }),
  tpm: parsed('emulator (a TPM 2.0 of its own), or none', parseTpm, {
    value: 'type',
    complete: ['emulator', 'none'],
  }),
  graphics: parsed('vnc (see isle vm display), or none', parseGraphics, {
    value: 'type',
    complete: ['vnc', 'none'],
  }),
  filesystem: each(
    'Share a directory: SOURCE,TAG[,readonly=on]; in the guest: mount -t virtiofs TAG /mnt',
    parseFilesystem,
    { value: 'source,tag' },
  ),
  hostdev: each('Pass a device through: PCI address (0000:01:00.0) or USB ids (1d6b:0002)', parseHostDevice, {
    aliases: ['host-device'],
    value: 'device',
  }),
  uuid: text('UUID that the guest sees'),
} as const;

const network = {
  network: each(
    'A network card: NAME or network=NAME, model=virtio|e1000e|…, mac=, ip=; none for none',
    parseNic,
    { short: 'w', value: 'options', complete: 'network' },
  ),
  publish: list('Publish a port: [[address:]host port:]port[/protocol]', { short: 'p' }),
  pxe: boolean('Boot from the network first'),
  hostname: text('Host name'),
} as const;

const guest = {
  'cloud-init': parsed(
    'user-data from a FILE, or user-data=, meta-data=, network-config= (files), ssh-key=, root-password-generate=on, root-password-file=, user=; alone: a password for root is made up',
    (given) => given,
    { value: '[options]', optional: isSeed, complete: 'file' },
  ),
  'ssh-key': list('Public key (or its file) that may log in', { value: 'file', complete: 'file' }),
} as const;

const life = {
  name: text('Name of the machine', { short: 'n' }),
  description: text('What it is for'),
  metadata: text('title=, description=', { hidden: true }),
  ...autostartFlags,
  restart: text('When it ends: "no", "always", "unless-stopped", "on-failure[:N]"', {
    complete: ['no', 'always', 'unless-stopped', 'on-failure'],
  }),
  events: parsed('As virt-install’s', parseEvents, { hidden: true }),
  cpus: parsed('Share of the host’s processors (1.5)', parseCpus, { value: 'decimal' }),
  label: list('Label (key=value)'),
  'log-opt': list('Of the console’s log: max-size=10m, max-file=3'),
  'stop-timeout': integer('Seconds to power off before the plug is pulled; -1 for ever'),
} as const;

const doing = {
  'no-start': boolean('Only make it', { aliases: ['noreboot'] }),
  autoconsole: parsed('text: connect this terminal to its console', parseAutoconsole, {
    value: 'how',
    complete: ['text', 'none'],
  }),
  'dry-run': boolean('Show what would be asked for, as JSON', { aliases: ['print-xml', 'print-json'] }),
  quiet: boolean('No progress and no notes', { short: 'q' }),
  wait: integer('Accepted', { hidden: true, value: 'minutes' }),
  connect: parsed('Accepted for qemu:///system', parseConnect, { hidden: true }),
  check: text('Accepted', { hidden: true }),
} as const;

/** virt-install's, and of Docker's those that make sense for machines. */
export const createFlags = {
  ...life,
  ...hardware,
  ...guest,
  ...network,
  ...doing,
  ...foreignFlags,
} as typeof life &
  typeof hardware &
  typeof guest &
  typeof network &
  typeof doing &
  Record<never, Flag<string[]>>;

export type CreateFlags = Values<typeof createFlags>;

/** Whether the word after `--import` is its file, not the machine's name. */
function isPath(word: string): boolean {
  return word.includes('/') || /\.\w+$/.test(word);
}

function isSeed(word: string): boolean {
  return word === 'none' || word.includes('=') || isPath(word);
}

function parseAutoconsole(given: string): 'text' | 'graphical' | 'none' {
  if (given === 'text' || given === 'graphical' || given === 'none') return given;
  throw new Failure(`there are text and none, not "${given}"`);
}
