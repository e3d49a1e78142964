import { isleError } from '../../../lib/errors.ts';
import { Fields } from '../../../lib/json-fields.ts';
import type { CloudInit, MachineDisk } from '../../machine.ts';
import type { MachineRequest } from '../../machines.ts';
import type { EndpointSpec, PortKey } from '../../model.ts';
import { plainPlace } from '../plain-place.ts';
import type { MachineRecord } from '../record.ts';

/** What of a machine is kept in a backup and makes one again, as plain JSON. Nothing of it is a place on the host. */
export function settingsOf({ spec, hostname }: Pick<MachineRecord, 'spec' | 'hostname'>): object {
  const { machine } = spec;
  const { disks, cdroms, kernel, nicModels, boot, cloudInit, ...rest } = machine;
  return {
    hardware: {
      ...pick(rest, [...texts, ...numbers, ...flags]),
      disks: disks.map((disk) => pick(disk, diskKeys)),
      cdroms: cdroms.map(({ target }) => ({ target })),
      nicModels,
      boot,
      ...(kernel && { kernel: { arguments: kernel.arguments, initrd: kernel.initrd !== undefined } }),
      ...(cloudInit && { cloudInit }),
    },
    container: { ...pick(spec, containerKeys), hostname },
  };
}

const texts = [
  'arch',
  'type',
  'cpuModel',
  'firmware',
  'osVariant',
  'accelerator',
  'description',
  'origin',
  'uuid',
] as const;
const numbers = ['memory', 'maxMemory', 'vcpus', 'maxVcpus'] as const;
const flags = ['tpm', 'graphics'] as const;
const diskKeys = ['target', 'bus', 'controller', 'readOnly', 'cache', 'discard', 'serial', 'limits'] as const;
const containerKeys = [
  'labels',
  'domainname',
  'networkMode',
  'networks',
  'exposedPorts',
  'portBindings',
  'publishAllPorts',
  'dns',
  'dnsSearch',
  'dnsOptions',
  'restartPolicy',
  'stopTimeout',
  'tty',
  'openStdin',
] as const;

function pick<T extends object>(from: T, keys: readonly (keyof T)[]): object {
  return Object.fromEntries(keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]])));
}

export interface ParsedSettings {
  container: MachineRequest['container'];
  hardware: Omit<MachineRequest['hardware'], 'kernel'>;
  /** It boots the backup's files `kernel` and `initrd`. */
  kernel?: { arguments: string; initrd: boolean };
  disks: Omit<MachineDisk, 'diskId' | 'path' | 'format'>[];
}

/** Types and bounds; what the values mean is checked where machines are made. Throws `damagedBackup` naming `path`. */
export function parseSettings(settings: unknown, path: string): ParsedSettings {
  const fail = (why: string): Error => isleError('damagedBackup', { file: path, why });
  const fields = new Fields(settings, 'settings', fail);
  const hardware = fields.object('hardware');
  return {
    container: parseContainer(fields.object('container')),
    hardware: parseHardware(hardware),
    disks: hardware.list('disks', 64, parseDisk),
    ...hardware.maybe('kernel', (it) => {
      const kernel = it.object('kernel');
      return {
        kernel: { arguments: kernel.text('arguments', { most: 2048 }), initrd: kernel.flag('initrd') },
      };
    }),
  };
}

function parseHardware(it: Fields): ParsedSettings['hardware'] {
  return {
    arch: it.oneOf('arch', ['x86_64', 'aarch64', 'riscv64']),
    type: it.oneOf('type', ['q35', 'microvm', 'virt']),
    firmware: it.oneOf('firmware', ['bios', 'uefi', 'uefi-secure']),
    memory: it.integer('memory'),
    vcpus: it.integer('vcpus'),
    ...it.maybe('maxMemory', () => ({ maxMemory: it.integer('maxMemory') })),
    ...it.maybe('maxVcpus', () => ({ maxVcpus: it.integer('maxVcpus') })),
    ...it.maybe('cpuModel', () => ({ cpuModel: it.text('cpuModel') })),
    ...it.maybe('osVariant', () => ({ osVariant: it.text('osVariant') })),
    ...it.maybe('accelerator', () => ({ accelerator: it.oneOf('accelerator', ['kvm', 'tcg']) })),
    ...it.maybe('description', () => ({ description: it.document('description', 4096) })),
    ...it.maybe('origin', () => ({ origin: it.text('origin', { most: 512 }) })),
    uuid: it.text('uuid'),
    tpm: it.flag('tpm'),
    graphics: it.flag('graphics'),
    cdroms: it.list('cdroms', 32, (cdrom) => ({ target: cdrom.text('target') })),
    nicModels: it.texts('nicModels', 32),
    boot: it.texts('boot', 64),
    shares: [],
    usb: [],
    pci: [],
    ...it.maybe('cloudInit', () => ({ cloudInit: parseCloudInit(it.object('cloudInit')) })),
  };
}

function parseDisk(it: Fields): ParsedSettings['disks'][number] {
  const limits = it.object('limits');
  const limit = (key: keyof MachineDisk['limits']): object =>
    limits.maybe(key, () => ({ [key]: limits.integer(key) })) ?? {};
  return {
    target: it.text('target'),
    bus: it.oneOf('bus', ['virtio', 'scsi', 'sata', 'ide', 'nvme']),
    ...it.maybe('controller', () => ({
      controller: it.oneOf('controller', ['lsi53c895a', 'mptsas1068', 'megasas', 'pvscsi']),
    })),
    readOnly: it.flag('readOnly'),
    cache: it.oneOf('cache', ['none', 'writeback', 'writethrough', 'unsafe']),
    discard: it.flag('discard'),
    ...it.maybe('serial', () => ({ serial: it.text('serial') })),
    limits: { ...limit('readBps'), ...limit('writeBps'), ...limit('readIops'), ...limit('writeIops') },
  };
}

/** Bytes of a file of the user's for cloud-init. */
const mostUserData = 512 * 1024;

function parseCloudInit(it: Fields): CloudInit {
  const optional = (key: 'hostname' | 'user' | 'passwordHash'): object =>
    it.maybe(key, () => ({ [key]: it.text(key) })) ?? {};
  const file = (key: 'userData' | 'metaData' | 'networkConfig'): object =>
    it.maybe(key, () => ({ [key]: it.document(key, mostUserData) })) ?? {};
  const root = it.maybe('root', () => it.object('root'));
  return {
    instanceId: it.text('instanceId'),
    sshKeys: it.texts('sshKeys', 256, { most: 16_384 }),
    ...(['hostname', 'user', 'passwordHash'] as const).reduce(
      (all, key) => ({ ...all, ...optional(key) }),
      {},
    ),
    ...(root && {
      root: {
        sshKeys: root.texts('sshKeys', 256, { most: 16_384 }),
        ...root.maybe('passwordHash', () => ({ passwordHash: root.text('passwordHash') })),
      },
    }),
    ...(['userData', 'metaData', 'networkConfig'] as const).reduce(
      (all, key) => ({ ...all, ...file(key) }),
      {},
    ),
  };
}

function parseContainer(it: Fields): MachineRequest['container'] {
  const policy = it.object('restartPolicy');
  return {
    ...plainPlace(),
    tty: it.flag('tty'),
    openStdin: it.flag('openStdin'),
    hostname: it.text('hostname'),
    domainname: it.text('domainname'),
    labels: it.map('labels', 1000),
    networkMode: it.text('networkMode'),
    networks: parseNetworks(it),
    exposedPorts: it.list('exposedPorts', 1000, parsePort),
    portBindings: it.list('portBindings', 1000, (port) => ({
      ...parsePort(port),
      hostIp: port.text('hostIp'),
      hostPort: port.integer('hostPort', { most: 65_535 }),
    })),
    publishAllPorts: it.flag('publishAllPorts'),
    dns: it.texts('dns', 16),
    dnsSearch: it.texts('dnsSearch', 16),
    dnsOptions: it.texts('dnsOptions', 16),
    restartPolicy: {
      name: policy.oneOf('name', ['no', 'always', 'unless-stopped', 'on-failure']),
      maximumRetryCount: policy.integer('maximumRetryCount'),
    },
    ...it.maybe('stopTimeout', () => ({ stopTimeout: it.integer('stopTimeout', { least: -1 }) })),
  };
}

function parsePort(it: Fields): PortKey {
  return {
    port: it.integer('port', { least: 1, most: 65_535 }),
    protocol: it.oneOf('protocol', ['tcp', 'udp', 'sctp']),
  };
}

/** Where they lead is this host's; the guest keeps the hardware address that it knows. */
function parseNetworks(it: Fields): Record<string, EndpointSpec> {
  const networks = it.entries('networks', 32);
  return Object.fromEntries(
    networks.map(([name, endpoint]) => [
      name,
      {
        ...endpoint.maybe('aliases', () => ({ aliases: endpoint.texts('aliases', 64) })),
        ...endpoint.maybe('macAddress', () => ({ macAddress: endpoint.text('macAddress') })),
      },
    ]),
  );
}
