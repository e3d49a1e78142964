import { posix } from 'node:path';
import type { ApplianceMachine } from '../appliances.ts';
import { bounds, macOf, memoryOf, uuidOf, vcpusOf } from './bounds.ts';
import { diskIn } from './disk-file.ts';
import { nicModel, scsiController } from './hardware-words.ts';
import type { ReadMachine } from './open-appliance.ts';
import { osVariantOf } from './os-names.ts';
import { refusal } from './refuse.ts';
import { findBeside, readAll, type ApplianceFile, type ApplianceSource } from './source.ts';

export type VmxSettings = Map<string, string>;

/** `key = "value"` lines; keys do not care for case, `|22` stands for a character. */
export function parseVmx(text: string, where: string): VmxSettings {
  const settings: VmxSettings = new Map();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#.*)?$/.test(line) || line.startsWith('.encoding')) continue;
    // One way to match only: a line may have a million characters.
    const match = /^\s*([\w.:\-/]{1,256})\s*=(.*)$/.exec(line);
    if (!match) throw refusal(`${where}, line ${index + 1}`, `this is no setting: "${line}"`);
    if (index >= bounds.parts) throw refusal(where, `it has more than ${bounds.parts} lines`);
    const value = match[2]!.trim().replace(/^"/, '').replace(/"$/, '');
    settings.set(match[1]!.toLowerCase(), unescaped(value));
  }
  return settings;
}

function unescaped(value: string): string {
  return value.replace(/\|([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** VMware's description of a machine, with its disks beside it. */
export async function readVmx(file: ApplianceFile, source: ApplianceSource): Promise<ReadMachine> {
  const where = file.name;
  const vmx = parseVmx((await readAll(file)).toString('utf8'), where);
  if (vmx.has('encryption.data') || vmx.has('encryption.keysafe'))
    throw refusal(where, 'the machine is encrypted: remove its encryption in VMware first');
  if (!vmx.has('virtualhw.version') && !vmx.has('config.version') && !vmx.has('memsize'))
    throw refusal(where, 'it is no VMX: it has neither config.version nor memsize');
  const warnings: string[] = [];
  const guest = vmx.get('guestos');
  const efi = /efi/i.test(vmx.get('firmware') ?? '');
  return {
    machine: {
      name: vmx.get('displayname') ?? posix.basename(where, '.vmx'),
      uuid: uuidOf(vmx.get('uuid.bios')),
      description: vmx.get('annotation')?.slice(0, 4096),
      ...(guest && { os: { text: guest, variant: osVariantOf(guest) } }),
      arch: /^arm|-arm/i.test(guest ?? '') ? 'aarch64' : 'x86_64',
      memory: memoryOf(vmx.get('memsize') ?? '256', 2 ** 20, where),
      vcpus: vcpusOf(vmx.get('numvcpus') ?? '1', where),
      firmware: efi ? (isTrue(vmx.get('uefi.secureboot.enabled')) ? 'uefi-secure' : 'uefi') : 'bios',
      tpm: isTrue(vmx.get('vtpm.present')),
      nics: nicsOf(vmx, warnings),
    },
    disks: await disksOf(vmx, { where, source, warnings }),
    warnings,
  };
}

function nicsOf(vmx: VmxSettings, warnings: string[]): ApplianceMachine['nics'] {
  const nics: ApplianceMachine['nics'] = [];
  for (let index = 0; index < bounds.nics; index++) {
    const get = (key: string): string | undefined => vmx.get(`ethernet${index}.${key}`);
    if (!isTrue(get('present'))) continue;
    const type = get('virtualdev') ?? 'vlance';
    const model = nicModel(type);
    if (model === undefined)
      warnings.push(`network card ${index} is a "${type}", which nothing here is like`);
    nics.push({
      macAddress: macOf(get('address') ?? get('generatedaddress')),
      model,
      network: get('networkname') ?? get('vnet') ?? get('connectiontype'),
    });
  }
  return nics;
}

interface Context {
  where: string;
  source: ApplianceSource;
  warnings: string[];
}

const buses = ['scsi', 'sata', 'ide', 'nvme'] as const;

async function disksOf(vmx: VmxSettings, context: Context): Promise<ReadMachine['disks']> {
  const disks: ReadMachine['disks'] = [];
  for (const bus of buses) {
    for (const place of placesOf(vmx, bus)) {
      const disk = await diskAt(vmx, bus, place, context);
      if (disk) disks.push(disk);
    }
  }
  return disks;
}

/** `0:1`, ascending, of devices that are there. */
function placesOf(vmx: VmxSettings, bus: string): string[] {
  const order = (place: string): number => {
    const [controller, unit] = place.split(':');
    return Number(controller) * 1000 + Number(unit);
  };
  return [...vmx.keys()]
    .map((key) => new RegExp(`^${bus}(\\d{1,2}:\\d{1,3})\\.present$`).exec(key)?.[1])
    .filter((place) => place !== undefined && isTrue(vmx.get(`${bus}${place}.present`)))
    .toSorted((a, b) => order(a!) - order(b!)) as string[];
}

async function diskAt(
  vmx: VmxSettings,
  bus: (typeof buses)[number],
  place: string,
  { where, source, warnings }: Context,
): Promise<ReadMachine['disks'][number] | undefined> {
  const device = `${bus}${place}`;
  const type = (vmx.get(`${device}.devicetype`) ?? 'disk').toLowerCase();
  const name = vmx.get(`${device}.filename`) ?? '';
  const virtual = vmx.get(`${bus}${place.split(':')[0]}.virtualdev`);
  const entry = {
    name: device,
    bus,
    ...(bus === 'scsi' && { controller: scsiController(virtual) ?? 'buslogic' }),
    cdrom: /cdrom|atapi/.test(type),
  };
  if (entry.cdrom) {
    if (/image/.test(type)) warnings.push(`the CD in ${device} is not taken along: the drive is empty`);
    return { entry };
  }
  if (!/disk/.test(type)) {
    warnings.push(`${device} is a "${type}" and is left out`);
    return undefined;
  }
  if (name === '') throw refusal(where, `the disk ${device} has no file`);
  const file = await findBeside(source, name, where);
  if (file === undefined) throw refusal(where, `the file "${name}" of ${device} is missing`);
  return { entry, take: diskIn(file, source, { format: 'vmdk' }) };
}

export function isTrue(value: string | undefined): boolean {
  return /^(true|yes|1)$/i.test(value ?? '');
}
