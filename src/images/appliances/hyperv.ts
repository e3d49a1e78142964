import { posix, win32 } from 'node:path';
import type { ApplianceMachine } from '../appliances.ts';
import { macOf, memoryOf, uuidOf, vcpusOf } from './bounds.ts';
import { firmwareOf } from './boot-layout.ts';
import { diskIn } from './disk-file.ts';
import { formatOfSuffix } from './disk-suffix.ts';
import type { ReadMachine } from './open-appliance.ts';
import { refusal } from './refuse.ts';
import { nodeAt, valueAt, xmlTree, type SettingTree } from './setting-tree.ts';
import { readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { parseVmcx } from './vmcx.ts';
import { readXml } from './xml.ts';

/** A machine that Hyper-V exported: its settings in `Virtual Machines`, its disks in `Virtual Hard Disks`. */
export async function readHyperV(
  file: ApplianceFile,
  source: ApplianceSource,
  signal?: AbortSignal,
): Promise<ReadMachine> {
  const where = file.name;
  const content = await readAll(file);
  const settings = /\.xml$/i.test(where)
    ? xmlTree(readXml(content, where, 'configuration'))
    : parseVmcx(content, where);
  if (settings === undefined) return await byItsDisks(where, source, signal);
  const warnings: string[] = [];
  const second = generationOf(settings) === 2;
  const board = settings.children.find((each) => nodeAt(each, 'secure_boot_enabled'));
  const secure = second && /true/i.test((board && valueAt(board, 'secure_boot_enabled')) ?? '');
  return {
    machine: {
      name: valueAt(settings, 'properties', 'name') ?? posix.basename(where).replace(/\.\w+$/, ''),
      uuid: uuidOf(board && valueAt(board, 'bios_guid')),
      description: valueAt(settings, 'settings', 'global', 'notes')?.slice(0, 4096),
      arch: 'x86_64',
      memory: memoryOf(valueAt(settings, 'settings', 'memory', 'bank', 'size') ?? '1024', 2 ** 20, where),
      vcpus: vcpusOf(valueAt(settings, 'settings', 'processors', 'count') ?? '1', where),
      firmware: second ? (secure ? 'uefi-secure' : 'uefi') : 'bios',
      tpm: /true/i.test(valueAt(settings, 'security', 'tpm_enabled') ?? ''),
      nics: nicsOf(settings),
    },
    disks: await disksOf(settings, second, { where, source, warnings }),
    warnings,
  };
}

/** Of settings that cannot be read: what lies beside them, and the firmware that its first disk asks for. */
async function byItsDisks(
  where: string,
  source: ApplianceSource,
  signal: AbortSignal | undefined,
): Promise<ReadMachine> {
  const names = (await source.list?.('Virtual Hard Disks')) ?? [];
  const disks: ReadMachine['disks'] = [];
  let firmware: ApplianceMachine['firmware'] = 'bios';
  for (const name of names.filter((each) => /\.vhdx?$/i.test(each)).toSorted()) {
    const file = await source.find(posix.join('Virtual Hard Disks', name));
    if (file?.path === undefined) continue;
    const format = /x$/i.test(name) ? 'vhdx' : 'vpc';
    if (disks.length === 0) firmware = (await firmwareOf(file.path, format, signal)) ?? 'bios';
    disks.push({ entry: { name, bus: 'sata', cdrom: false }, take: diskIn(file, source, { format }) });
  }
  const [first] = disks;
  if (first === undefined)
    throw refusal(
      where,
      'its version is not known, and there are no disks in "Virtual Hard Disks" beside it',
    );
  return {
    machine: {
      name: first.entry.name.replace(/\.\w+$/, ''),
      arch: 'x86_64',
      memory: 2 ** 30,
      vcpus: 1,
      firmware,
      tpm: false,
      nics: [{}],
    },
    disks,
    warnings: [
      'its settings are of a version that cannot be read: it has the disks of the export, 1 GiB of memory and 1 CPU (isle vm edit changes them)',
    ],
  };
}

/** The first has BIOS and boots from IDE, the second UEFI and SCSI. */
function generationOf(settings: SettingTree): 1 | 2 {
  return valueAt(settings, 'properties', 'subtype') === '1' ? 2 : 1;
}

/** Its own cards are nothing that QEMU has; the older ones of DEC neither. Both become what all systems know. */
function nicsOf(settings: SettingTree): ApplianceMachine['nics'] {
  return settings.children
    .filter((each) => nodeAt(each, 'MacAddress'))
    .map((each) => ({
      macAddress: macOf(valueAt(each, 'MacAddress')),
      network: valueAt(each, 'AltSwitchName') ?? valueAt(each, 'Connection', 'AltSwitchName'),
    }));
}

interface Context {
  where: string;
  source: ApplianceSource;
  warnings: string[];
}

const ideController = /^_83f8638b-8dca-4152-9eda-2ca8b33039b4_$/i;

async function disksOf(
  settings: SettingTree,
  second: boolean,
  context: Context,
): Promise<ReadMachine['disks']> {
  const disks: ReadMachine['disks'] = [];
  for (const device of settings.children) {
    for (const controller of device.children.filter((each) => /^controller\d+$/.test(each.name))) {
      for (const drive of controller.children.filter((each) => /^drive\d+$/.test(each.name))) {
        const place = `${controller.name} ${drive.name}`;
        // SCSI of Hyper-V is nothing that QEMU has: SATA is what most systems boot from, whatever they ran on.
        const bus = ideController.test(device.name) && !second ? 'ide' : 'sata';
        const disk = await diskOf(drive, { name: place, bus }, context);
        if (disk) disks.push(disk);
      }
    }
  }
  return disks;
}

async function diskOf(
  drive: SettingTree,
  place: { name: string; bus: 'ide' | 'sata' },
  { where, source, warnings }: Context,
): Promise<ReadMachine['disks'][number] | undefined> {
  const [type, path] = [valueAt(drive, 'type') ?? 'NONE', valueAt(drive, 'pathname')];
  if (type === 'ISO' || type === 'ATAPI') {
    if (path) warnings.push(`the CD in ${place.name} is not taken along: the drive is empty`);
    return { entry: { ...place, cdrom: true } };
  }
  if (type !== 'VHD' || !path) {
    if (type === 'PHYSICAL') warnings.push(`${place.name} is a disk of the old host and is left out`);
    return undefined;
  }
  const name = win32.basename(path);
  const file = await findDisk(name, where, source);
  if (file === undefined)
    throw refusal(
      where,
      `its disk "${name}" is neither in "Virtual Hard Disks" nor beside it: export the machine in Hyper-V, and give the file in the export`,
    );
  const format = /\.a?vhdx?$/i.test(name) ? (/x$/i.test(name) ? 'vhdx' : 'vpc') : formatOfSuffix(name);
  if (format === undefined) throw refusal(where, `its disk "${name}" is no VHD or VHDX`);
  return { entry: { ...place, cdrom: false }, take: diskIn(file, source, { format }) };
}

async function findDisk(
  name: string,
  where: string,
  source: ApplianceSource,
): Promise<ApplianceFile | undefined> {
  for (const directory of ['Virtual Hard Disks', posix.dirname(where), '.', 'Snapshots']) {
    const file = await source.find(posix.join(directory, name));
    if (file) return file;
  }
  return undefined;
}
