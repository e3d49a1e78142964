import type { CloudInit, MachineSpec } from '../../../engine/machine.ts';
import { isleError } from '../../../lib/errors.ts';
import type { Fields } from '../../http/fields.ts';
import { refuseUnknown } from './unknown-fields.ts';

export type ParsedHardware = {
  [K in keyof Omit<
    MachineSpec,
    'disks' | 'snapshots' | 'currentSnapshot' | 'saved' | 'savedWith' | 'generationId'
  >]: MachineSpec[K] | undefined;
};

const known = [
  ...['Arch', 'Type', 'Memory', 'MaxMemory', 'Vcpus', 'MaxVcpus', 'CpuModel', 'Firmware', 'Tpm', 'Kernel'],
  ...['Cdroms', 'NicModels', 'Shares', 'Usb', 'Pci', 'Boot', 'CloudInit', 'OsVariant', 'Graphics'],
  ...['Accelerator', 'Description', 'Origin', 'Uuid'],
];

/** Fields that are absent stay undefined. What the values may be is the engine's to say. Throws `invalidParameter`. */
export function parseHardware(fields: Fields, others: readonly string[] = []): ParsedHardware {
  refuseUnknown(fields, [...known, ...others]);
  return {
    arch: word(fields, 'Arch', ['x86_64', 'aarch64', 'riscv64']),
    type: word(fields, 'Type', ['q35', 'microvm', 'virt']),
    memory: fields.optionalInteger('Memory'),
    maxMemory: fields.optionalInteger('MaxMemory'),
    vcpus: fields.optionalInteger('Vcpus'),
    maxVcpus: fields.optionalInteger('MaxVcpus'),
    cpuModel: fields.optionalText('CpuModel'),
    firmware: word(fields, 'Firmware', ['bios', 'uefi', 'uefi-secure']),
    tpm: fields.optionalFlag('Tpm'),
    kernel: kernelOf(fields.object('Kernel')),
    cdroms: fields.has('Cdroms')
      ? fields
          .objects('Cdroms')
          .map((cdrom) => ({ target: cdrom.text('Target'), path: cdrom.text('Path') || undefined }))
      : undefined,
    nicModels: fields.optionalTexts('NicModels'),
    shares: fields.has('Shares')
      ? fields.objects('Shares').map((share) => ({
          source: share.text('Source'),
          tag: share.text('Tag'),
          readOnly: share.flag('ReadOnly'),
        }))
      : undefined,
    usb: fields.has('Usb')
      ? fields
          .objects('Usb')
          .map((device) => ({ vendor: device.integer('Vendor'), product: device.integer('Product') }))
      : undefined,
    pci: fields.optionalTexts('Pci'),
    boot: fields.optionalTexts('Boot'),
    cloudInit: cloudInitOf(fields.object('CloudInit')),
    osVariant: fields.optionalText('OsVariant'),
    graphics: fields.optionalFlag('Graphics'),
    accelerator: word(fields, 'Accelerator', ['kvm', 'tcg']),
    description: fields.optionalText('Description'),
    origin: fields.optionalText('Origin'),
    uuid: fields.optionalText('Uuid'),
  };
}

function kernelOf(fields: Fields | undefined): MachineSpec['kernel'] {
  if (!fields) return undefined;
  refuseUnknown(fields, ['Path', 'Initrd', 'Arguments']);
  const initrd = fields.text('Initrd');
  return {
    path: fields.text('Path'),
    ...(initrd !== '' && { initrd }),
    arguments: fields.text('Arguments'),
  };
}

const seedFields = [
  ...[
    'Root',
    'Hostname',
    'SshKeys',
    'User',
    'PasswordHash',
    'UserData',
    'MetaData',
    'NetworkConfig',
    'InstanceId',
  ],
];

function cloudInitOf(fields: Fields | undefined): CloudInit | undefined {
  if (!fields) return undefined;
  refuseUnknown(fields, seedFields);
  return {
    hostname: fields.text('Hostname') || undefined,
    sshKeys: fields.texts('SshKeys'),
    user: fields.text('User') || undefined,
    passwordHash: fields.text('PasswordHash') || undefined,
    root: rootOf(fields.object('Root')),
    userData: fields.optionalText('UserData'),
    metaData: fields.optionalText('MetaData'),
    networkConfig: fields.optionalText('NetworkConfig'),
    instanceId: fields.text('InstanceId') || `isle-${crypto.randomUUID()}`,
  };
}

function rootOf(fields: Fields | undefined): CloudInit['root'] {
  if (!fields) return undefined;
  refuseUnknown(fields, ['PasswordHash', 'SshKeys']);
  return {
    passwordHash: fields.text('PasswordHash') || undefined,
    sshKeys: fields.texts('SshKeys'),
  };
}

/** One of `words`, or absent. */
export function word<T extends string>(fields: Fields, name: string, words: readonly T[]): T | undefined {
  const text = fields.text(name);
  if (text === '') return undefined;
  const found = words.find((one) => one === text);
  if (found === undefined) throw fields.invalid(name, `"${printable(text)}" is none of ${words.join(', ')}`);
  return found;
}

/** Throws when it is absent. */
export function requiredWord<T extends string>(fields: Fields, name: string, words: readonly T[]): T {
  const found = word(fields, name, words);
  if (found === undefined) throw fields.invalid(name, `missing: one of ${words.join(', ')}`);
  return found;
}

export function requiredText(fields: Fields, name: string): string {
  const text = fields.text(name);
  if (text === '') throw isleError('invalidParameter', { message: `${fields.path}.${name}: missing` });
  return text;
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 100)).slice(1, -1);
}
