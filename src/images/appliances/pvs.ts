import { posix } from 'node:path';
import type { ApplianceMachine } from '../appliances.ts';
import { macOf, memoryOf, uuidOf, vcpusOf } from './bounds.ts';
import { parallelsDisk } from './parallels-disk.ts';
import type { ReadMachine } from './open-appliance.ts';
import { refusal } from './refuse.ts';
import { readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { readXml, type Xml } from './xml.ts';

/** A machine of Parallels: `config.pvs` in its `.pvm` bundle. */
export async function readPvs(file: ApplianceFile, source: ApplianceSource): Promise<ReadMachine> {
  const where = file.name;
  const xml = readXml(await readAll(file), where, 'ParallelsVirtualMachine');
  const hardware = xml.child('Hardware');
  if (hardware === undefined) throw refusal(where, 'it says nothing of hardware');
  const warnings: string[] = [];
  const bios = xml.child('Settings', 'Startup', 'Bios');
  const efi = (bios?.value('EfiEnabled') ?? '0') !== '0';
  return {
    machine: {
      name: xml.value('Identification', 'VmName') ?? posix.basename(where, '.pvs'),
      uuid: uuidOf(xml.value('Identification', 'VmUuid')),
      description: xml.value('Settings', 'General', 'VmDescription')?.slice(0, 4096),
      ...osOf(xml),
      // Type 2 is that of Macs with Apple's processors.
      arch: xml.value('Identification', 'VmType') === '2' ? 'aarch64' : 'x86_64',
      memory: memoryOf(hardware.value('Memory', 'RAM') ?? '', 2 ** 20, where),
      vcpus: vcpusOf(hardware.value('Cpu', 'Number') ?? '1', where),
      firmware: efi ? (bios?.value('EfiSecureBoot') === '1' ? 'uefi-secure' : 'uefi') : 'bios',
      tpm: (hardware.value('TpmChip', 'Type') ?? '0') !== '0',
      nics: hardware.children('NetworkAdapter').filter(isEnabled).map(nicOf),
    },
    disks: await disksOf(hardware, source, where, warnings),
    warnings,
  };
}

function isEnabled(device: Xml): boolean {
  return device.value('Enabled') !== '0';
}

/** Numbers of the systems that Parallels tells apart. */
function osOf(xml: Xml): Pick<ApplianceMachine, 'os'> {
  const kinds: Record<string, string> = { 7: 'macOS', 8: 'Windows', 9: 'Linux', 10: 'FreeBSD' };
  const text = kinds[xml.value('Settings', 'General', 'OsType') ?? ''];
  return text ? { os: { text } } : {};
}

const nicModels: Record<string, string> = { 0: 'e1000', 1: 'rtl8139', 2: 'e1000', 3: 'virtio', 4: 'e1000e' };

function nicOf(adapter: Xml): ApplianceMachine['nics'][number] {
  return {
    macAddress: macOf(adapter.value('MAC')),
    model: nicModels[adapter.value('AdapterType') ?? ''],
    network: adapter.value('VirtualNetworkID'),
  };
}

const buses: Record<string, ApplianceMachine['disks'][number]['bus']> = {
  0: 'ide',
  1: 'scsi',
  2: 'sata',
  3: 'nvme',
};

async function disksOf(hardware: Xml, source: ApplianceSource, where: string, warnings: string[]) {
  const disks: ReadMachine['disks'] = [];
  for (const device of [...hardware.children('Hdd'), ...hardware.children('CdRom')].filter(isEnabled)) {
    const cdrom = device.name === 'CdRom';
    const name = device.value('SystemName') ?? '';
    const bus = buses[device.value('InterfaceType') ?? ''] ?? 'sata';
    const entry = {
      name: device.value('UserFriendlyName') ?? (name || device.name),
      bus,
      ...(bus === 'scsi' && { controller: 'lsilogic' }),
      cdrom,
    };
    if (cdrom) {
      if (name) warnings.push(`the CD in ${entry.name} is not taken along: the drive is empty`);
      disks.push({ entry });
      continue;
    }
    if (name === '') throw refusal(where, 'a Hdd has no SystemName');
    // Parallels writes absolute paths for disks that were added; the bundle has them under the same name.
    const inside = posix.isAbsolute(name) ? posix.basename(name) : name;
    const { take, size } = await parallelsDisk(posix.join(posix.dirname(where), inside), source);
    disks.push({ entry: { ...entry, size }, take });
  }
  return disks;
}
