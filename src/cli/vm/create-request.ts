import { resolve } from 'node:path';
import type { MachineSpec } from '../../engine/machine.ts';
import type { DiskRequest, MachineRequest } from '../../engine/machines.ts';
import { autostartLabels } from '../container/autostart.ts';
import { toMap } from '../container/environment.ts';
import { parsePorts } from '../container/ports.ts';
import { parseRestart } from '../container/restart.ts';
import { Failure } from '../failure.ts';
import type { AskedBoot, BootDevice } from './boot.ts';
import { parseSeed } from './cloud-init.ts';
import type { CreateFlags } from './create-flags.ts';
import type { AskedDisk } from './disk.ts';
import type { AskedNic } from './network.ts';
import { foreignGiven } from './foreign-flags.ts';
import { osDefaults, type OsDefaults } from './os-variant.ts';
import { nextTarget } from './targets.ts';

export interface CreateRequest {
  /** Of POST /isle/v1/machines. */
  body: {
    Name?: string;
    Container: Record<string, unknown>;
    Hardware: Omit<MachineRequest['hardware'], 'cloudInit'> & { cloudInit?: object };
    Disks: WireDisk[];
  };
  /** What is to be said: what has no effect, what was decided. */
  notes: string[];
  rootPassword?: string;
}

/** What is left out has the API's default. */
type WireDisk = Omit<DiskRequest, 'cache'> & Partial<Pick<DiskRequest, 'cache'>>;

/** What the flags of `vm create` ask for; everything that can be seen to be wrong from here is refused here. */
export function createRequest(flags: CreateFlags, name: string | undefined): CreateRequest {
  const os = flags['os-variant'];
  const defaults = osDefaults(os?.name);
  const boot = joinBoot(flags.boot);
  const machine = boardOf(flags, boot, defaults);
  const {
    disks,
    cdroms,
    order: diskOrder,
    notes: diskNotes,
  } = storageOf(flags, defaults, machine.type, boot);
  const nics = flags.network.length > 0 ? flags.network : [{ network: 'default', endpoint: {}, notes: [] }];
  const cards = nics.filter(({ network }) => network !== 'none');
  const seed = parseSeed(flags['cloud-init'], flags['ssh-key'], {
    hostname: flags.hostname,
    expects: flags.image !== undefined && defaults.cloudInit,
  });
  const { vcpus, maxVcpus, cpuset } = flags.vcpus?.value ?? { vcpus: defaults.vcpus };
  const order = boot.devices.length > 0 ? orderOf(boot.devices, disks, cdroms) : numbered(diskOrder, cards);
  const description = flags.description ?? /(?:^|,)description=([^,]*)/.exec(flags.metadata ?? '')?.[1];
  const hardware: CreateRequest['body']['Hardware'] = {
    ...machine,
    memory: flags.memory?.memory ?? defaults.memory,
    ...(flags.memory?.maxMemory !== undefined && { maxMemory: flags.memory.maxMemory }),
    vcpus,
    ...(maxVcpus !== undefined && { maxVcpus }),
    ...(flags.cpu?.model !== undefined && { cpuModel: flags.cpu.model }),
    tpm: flags.tpm ?? defaults.tpm,
    ...(boot.kernel && { kernel: boot.kernel }),
    cdroms,
    nicModels: cards.map(({ model }) => model ?? defaults.nicModel),
    shares: flags.filesystem,
    usb: flags.hostdev.flatMap((device) =>
      device.kind === 'usb' ? [{ vendor: device.vendor, product: device.product }] : [],
    ),
    pci: flags.hostdev.flatMap((device) => (device.kind === 'pci' ? [device.address] : [])),
    boot: flags.pxe ? ['net0', ...order.filter((one) => one !== 'net0')] : order,
    ...(seed.cloudInit && { cloudInit: seed.cloudInit }),
    ...(os?.name !== undefined && { osVariant: os.name }),
    ...(flags['virt-type'] !== undefined && { accelerator: flags['virt-type'] }),
    ...(flags.uuid !== undefined && { uuid: flags.uuid }),
    ...(description !== undefined && { description }),
  };
  return {
    body: {
      ...(name !== undefined && { Name: name }),
      Container: placeOf(flags, nics, cpuset),
      Hardware: hardware,
      Disks: disks,
    },
    notes: [
      ...notesOf(flags),
      ...(flags.vcpus?.notes ?? []),
      ...(flags.graphics?.notes ?? []),
      ...boot.notes,
      ...diskNotes,
      ...nics.flatMap(({ notes }) => notes),
      ...seed.notes,
    ],
    ...(seed.rootPassword !== undefined && { rootPassword: seed.rootPassword }),
  };
}

/** What virt-install does and Isle does not, where nothing is the worse for it. */
function notesOf(flags: CreateFlags): string[] {
  const { wait, autoconsole, metadata } = flags;
  const idle = ['video', 'pm', 'iothreads'].filter((name) => foreignGiven(flags, name));
  const said = [
    wait !== undefined &&
      wait !== 0 &&
      'the command does not wait for an installation to end (for a boot: isle vm start --wait)',
    autoconsole === 'graphical' && 'no viewer is opened: isle vm display --viewer vncviewer NAME does that',
    /(?:^|,)title=/.test(metadata ?? '') && 'title= has no effect: say description=',
    idle.length > 0 && `${idle.map((name) => `--${name}`).join(', ')} has no effect: Isle chooses`,
  ];
  return said.filter((note) => note !== false);
}

function joinBoot(given: readonly AskedBoot[]): AskedBoot {
  return {
    ...Object.assign({}, ...given),
    devices: given.flatMap(({ devices }) => devices),
    notes: given.flatMap(({ notes }) => notes),
  } as AskedBoot;
}

type Board = Pick<MachineSpec, 'arch' | 'type' | 'firmware' | 'graphics'>;

function boardOf(flags: CreateFlags, boot: AskedBoot, defaults: OsDefaults): Board {
  const own = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const arch = flags.arch ?? (flags.machine === 'virt' && own === 'x86_64' ? 'aarch64' : own);
  const type = flags.machine ?? (arch === 'x86_64' ? 'q35' : 'virt');
  if ((type === 'virt') !== (arch !== 'x86_64'))
    throw new Failure(
      `--machine ${type} is not for ${arch}: that has ${arch === 'x86_64' ? 'q35 and microvm' : 'virt'}`,
    );
  const usual = arch === 'aarch64' ? 'uefi' : type === 'q35' ? defaults.firmware : 'bios';
  // A screen costs some memory: who installs needs one, a kernel that is named talks to its console.
  const graphics = flags.graphics?.graphics ?? (type === 'q35' && boot.kernel === undefined);
  if (graphics && type === 'microvm')
    throw new Failure('machines of type microvm have no screen: --graphics none, or --machine q35');
  return { arch, type, firmware: boot.firmware ?? (boot.kernel ? 'bios' : usual), graphics };
}

interface Storage {
  disks: WireDisk[];
  cdroms: MachineSpec['cdroms'];
  /** Targets in the order in which they are tried, and what the user numbered. */
  order: { target: string; number: number | undefined }[];
  notes: string[];
}

function storageOf(flags: CreateFlags, defaults: OsDefaults, type: Board['type'], boot: AskedBoot): Storage {
  const asked = withImage(flags, withInstallationDisk(flags, defaults));
  const taken = new Set<string>();
  for (const one of asked) {
    const target = one.kind === 'cdrom' ? one.target : one.kind === 'disk' ? one.request.target : undefined;
    if (target !== undefined) taken.add(target);
  }
  const storage: Storage = { disks: [], cdroms: [], order: [], notes: [] };
  const bus = type === 'q35' ? defaults.bus : 'virtio';
  let blank = false;
  for (const one of asked) {
    if (one.kind !== 'disk') continue;
    const { request } = one;
    const own = request.bus ?? bus;
    const target = request.target ?? nextTarget(own, taken);
    storage.disks.push({ ...request, target, bus: own, discard: request.discard ?? true });
    storage.order.push({ target, number: one.bootOrder });
    storage.notes.push(...one.notes);
    blank ||= storage.disks.length === 1 && request.source.kind === 'empty';
  }
  const installing = flags.cdrom !== undefined && storage.disks.length > 0 && !blank;
  const cds = [
    ...(flags.cdrom === undefined
      ? []
      : [{ path: resolve(flags.cdrom), target: undefined, bootOrder: undefined }]),
    ...asked.flatMap((one) => (one.kind === 'cdrom' ? [one] : [])),
  ];
  for (const [at, { path, target: named, bootOrder }] of cds.entries()) {
    const target = named ?? nextTarget(type === 'q35' ? 'sata' : 'scsi', taken);
    storage.cdroms.push({ target, ...(path !== undefined && { path }) });
    const entry = { target, number: bootOrder };
    // An empty disk is passed over until something is installed on it; one that has a system would win.
    if (installing && at === 0) storage.order.unshift(entry);
    else storage.order.push(entry);
  }
  const nothing = storage.order.length === 0 && boot.kernel === undefined && !flags.pxe;
  if (nothing && !boot.devices.includes('network'))
    throw new Failure('nothing to boot from', {
      hint: 'say --image FILE, --cdrom FILE, --disk path=FILE, --import FILE, or --boot kernel=FILE',
    });
  return storage;
}

/** An installation without a word about disks gets one. */
function withInstallationDisk(flags: CreateFlags, defaults: OsDefaults): AskedDisk[] {
  const none = flags.disk.some(({ kind }) => kind === 'none');
  if (none && flags.disk.some(({ kind }) => kind === 'disk'))
    throw new Failure('--disk none contradicts the other --disk');
  const asked = flags.disk.filter(({ kind }) => kind !== 'none');
  if (none || flags.cdrom === undefined || flags.image || asked.some(({ kind }) => kind === 'disk'))
    return asked;
  const source = { kind: 'empty', size: defaults.diskSize } as const;
  const notes = [`it gets a disk of ${defaults.diskSize / 1024 ** 3} GiB; say --disk size=GIB for another`];
  const request = { readOnly: false, limits: {}, source } as const;
  return [...asked, { kind: 'disk', request, bootOrder: undefined, notes }];
}

/** An image is the first disk: `--image FILE --disk size=20` is that image, grown. */
function withImage({ image, checksum }: CreateFlags, asked: AskedDisk[]): AskedDisk[] {
  if (!image) {
    if (checksum !== undefined) throw new Failure('--checksum is that of --image FILE');
    return asked;
  }
  const { path, format } = image;
  if (checksum !== undefined && image.digest !== undefined) throw new Failure('the checksum is said twice');
  const digest = checksum ?? image.digest;
  const at = asked.findIndex((one) => one.kind === 'disk' && one.request.source.kind === 'empty');
  const first = asked[at];
  const blank = first?.kind === 'disk' ? first : undefined;
  const blankSize = blank?.request.source.kind === 'empty' ? blank.request.source.size : undefined;
  const size = image.size ?? blankSize;
  const source = {
    kind: 'import',
    path,
    format,
    ...(digest !== undefined && { digest }),
    ...(size !== undefined && { size }),
  } as const;
  // Where the image has a size of its own, the blank disk is a further one.
  if (blank && image.size === undefined)
    return asked.with(at, { ...blank, request: { ...blank.request, source } });
  const request = { readOnly: false, limits: {}, source } as const;
  return [{ kind: 'disk', request, bootOrder: undefined, notes: [] }, ...asked];
}

function orderOf(devices: readonly BootDevice[], disks: WireDisk[], cdroms: MachineSpec['cdroms']): string[] {
  const targets = devices.flatMap((device) => {
    if (device === 'network') return ['net0'];
    return device === 'hd' ? disks.flatMap(({ target }) => target ?? []) : cdroms.map(({ target }) => target);
  });
  return [...new Set(targets)];
}

/** Those with `boot_order` by their numbers, or else all as they come. */
function numbered(order: Storage['order'], cards: readonly AskedNic[]): string[] {
  const nets = cards.flatMap(({ bootOrder }, at) =>
    bootOrder === undefined ? [] : [{ target: `net${at}`, number: bootOrder }],
  );
  const chosen = [...order, ...nets].filter(({ number }) => number !== undefined);
  if (chosen.length === 0) return order.map(({ target }) => target);
  return chosen.sort((a, b) => a.number! - b.number!).map(({ target }) => target);
}

/** In Docker's words: where it lives. */
function placeOf(flags: CreateFlags, nics: readonly AskedNic[], cpuset: string | undefined) {
  const cards = nics.filter(({ network }) => network !== 'none');
  if (cards.length < nics.length && (cards.length > 0 || nics.length > 1))
    throw new Failure('--network none contradicts the other --network');
  const names = cards.map(({ network }) => network);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    throw new Failure(`network "${twice}" is specified multiple times: a machine has one card on each`);
  const ports = parsePorts(flags.publish, []);
  const labels = { ...toMap(flags.label), ...autostartLabels(flags) };
  return {
    Hostname: flags.hostname,
    Labels: labels,
    ExposedPorts: ports.exposed,
    StopTimeout: flags['stop-timeout'],
    HostConfig: {
      NetworkMode: names[0] ?? 'none',
      PortBindings: ports.bindings,
      RestartPolicy: parseRestart(flags.restart),
      NanoCpus: flags.cpus,
      CpusetCpus: cpuset,
      LogConfig: { Type: '', Config: toMap(flags['log-opt']) },
    },
    NetworkingConfig: {
      EndpointsConfig: Object.fromEntries(cards.map(({ network, endpoint }) => [network, endpoint])),
    },
  };
}
