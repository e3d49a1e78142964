import { posix } from 'node:path';
import type { ApplianceMachine } from '../appliances.ts';
import { macOf, memoryOf, uuidOf, vcpusOf } from './bounds.ts';
import { diskIn } from './disk-file.ts';
import { formatOfSuffix } from './disk-suffix.ts';
import { nicModel, scsiController } from './hardware-words.ts';
import type { ReadMachine, TakeDisk } from './open-appliance.ts';
import { osVariantOf } from './os-names.ts';
import { RawImage } from './raw-image.ts';
import { refusal } from './refuse.ts';
import { findBeside, readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { readVdiHeader, vdiRuns } from './vdi.ts';
import { readXml, type Xml } from './xml.ts';

/** VirtualBox's own description of a machine, with its disks where it has them: in its directory. */
export async function readVbox(file: ApplianceFile, source: ApplianceSource): Promise<ReadMachine> {
  const where = file.name;
  const machine = readXml(await readAll(file), where, 'VirtualBox').child('Machine');
  if (machine === undefined)
    throw refusal(where, 'it describes no machine (perhaps it is VirtualBox.xml: give the .vbox file)');
  const hardware = machine.child('Hardware');
  if (hardware === undefined) throw refusal(where, 'it says nothing of hardware');
  const warnings: string[] = [];
  const os = machine.attribute('OSType');
  const efi = /^EFI/.test(hardware.descendants('Firmware')[0]?.attribute('type') ?? '');
  return {
    machine: {
      name: machine.attribute('name') ?? posix.basename(where, '.vbox'),
      uuid: uuidOf(machine.attribute('uuid')),
      description: machine.value('Description')?.slice(0, 4096),
      ...(os && { os: { text: os, variant: osVariantOf(os) } }),
      arch: /arm/i.test(`${hardware.child('Platform')?.attribute('architecture') ?? ''} ${os ?? ''}`)
        ? 'aarch64'
        : 'x86_64',
      memory: memoryOf(hardware.child('Memory')?.attribute('RAMSize') ?? '', 2 ** 20, where),
      vcpus: vcpusOf(hardware.descendants('CPU')[0]?.attribute('count') ?? '1', where),
      firmware: efi ? 'uefi' : 'bios',
      tpm: /^v2/.test(hardware.descendants('TrustedPlatformModule')[0]?.attribute('type') ?? ''),
      nics: nicsOf(hardware),
    },
    disks: await disksOf(machine, { where, source, warnings }),
    warnings,
  };
}

function nicsOf(hardware: Xml): ApplianceMachine['nics'] {
  return (hardware.child('Network')?.children('Adapter') ?? [])
    .filter((adapter) => adapter.attribute('enabled') === 'true')
    .map((adapter) => {
      const network = adapter.children().find((each) => each.name !== 'DisabledModes');
      return {
        macAddress: macOf(adapter.attribute('MACAddress')),
        model: nicModel(adapter.attribute('type') ?? 'Am79C973'),
        network: network?.attribute('name') ?? network?.name,
      };
    });
}

interface Context {
  where: string;
  source: ApplianceSource;
  warnings: string[];
}

async function disksOf(machine: Xml, context: Context): Promise<ReadMachine['disks']> {
  const media = mediaOf(machine, context.where);
  const controllers = machine.descendants('StorageController');
  const disks: ReadMachine['disks'] = [];
  for (const controller of controllers) {
    const bus = busOf(controller.attribute('type') ?? '');
    if (bus === undefined) continue;
    for (const device of controller.children('AttachedDevice').toSorted((a, b) => placeOf(a) - placeOf(b))) {
      const kind = device.attribute('type');
      const name = `${controller.attribute('name') ?? bus.bus} ${placeOf(device)}`;
      const image = uuidOf(device.child('Image')?.attribute('uuid'));
      if (kind === 'DVD') {
        if (image) context.warnings.push(`the CD in ${name} is not taken along: the drive is empty`);
        disks.push({ entry: { name, ...bus, cdrom: true } });
      } else if (kind === 'HardDisk' && image) {
        disks.push({ entry: { name, ...bus, cdrom: false }, take: await takerOf(image, media, context) });
      }
    }
  }
  return disks;
}

function placeOf(device: Xml): number {
  return (Number(device.attribute('port')) || 0) * 2 + (Number(device.attribute('device')) || 0);
}

function busOf(type: string): Pick<ApplianceMachine['disks'][number], 'bus' | 'controller'> | undefined {
  if (/AHCI/i.test(type)) return { bus: 'sata' };
  if (/PIIX|ICH/i.test(type)) return { bus: 'ide' };
  if (/NVMe/i.test(type)) return { bus: 'nvme' };
  if (/Logic/i.test(type)) return { bus: 'scsi', controller: scsiController(type) };
  if (/Virtio/i.test(type)) return { bus: 'scsi', controller: 'virtio-scsi' };
  if (/USB/i.test(type)) return { bus: 'sata' };
  return undefined;
}

interface Medium {
  location: string;
  parent?: string;
}

/** Disks by their UUID; those of snapshots stand inside of the one that they change. */
function mediaOf(machine: Xml, where: string): Map<string, Medium> {
  const media = new Map<string, Medium>();
  const add = (disk: Xml, parent: string | undefined): void => {
    const [id, location] = [uuidOf(disk.attribute('uuid')), disk.attribute('location')];
    if (!id || !location) throw refusal(where, 'a HardDisk of its MediaRegistry has no uuid or no location');
    if (media.has(id)) throw refusal(where, `two disks have the uuid ${id}`);
    media.set(id, { location, parent });
    for (const child of disk.children('HardDisk')) add(child, id);
  };
  for (const disk of machine.child('MediaRegistry', 'HardDisks')?.children('HardDisk') ?? [])
    add(disk, undefined);
  return media;
}

async function takerOf(
  id: string,
  media: Map<string, Medium>,
  { where, source }: Context,
): Promise<TakeDisk> {
  const chain: ApplianceFile[] = [];
  for (let next: string | undefined = id; next !== undefined; ) {
    const medium: Medium | undefined = media.get(next);
    if (medium === undefined)
      throw refusal(where, `the disk ${next} is not in its MediaRegistry: export the machine as OVA`);
    const file = await findBeside(source, medium.location, where);
    if (file === undefined) throw refusal(where, `its disk "${medium.location}" is missing`);
    chain.push(file);
    next = medium.parent;
  }
  const [top] = chain as [ApplianceFile];
  const format = formatOfSuffix(top.name);
  if (format === undefined)
    throw refusal(top.name, 'its suffix is not one of VirtualBox (vdi, vmdk, vhd, hdd)');
  if (chain.length === 1) return diskIn(top, source, { format });
  if (chain.some((file) => formatOfSuffix(file.name) !== 'vdi'))
    throw refusal(
      top.name,
      'it is the file of a snapshot, and not all of its parents are VDI: delete the snapshots in VirtualBox, which merges them',
    );
  return (directory, signal) => merged(chain, directory, signal);
}

/** The disk as it is now: the first of the files, over those that it stands on. */
async function merged(chain: ApplianceFile[], directory: string, signal: AbortSignal | undefined) {
  const headers = await Promise.all(chain.map(readVdiHeader));
  const [top] = headers as [(typeof headers)[number]];
  await using image = await RawImage.create(directory, top.size, signal);
  for (let index = chain.length - 1; index >= 0; index--) {
    const [file, header] = [chain[index]!, headers[index]!];
    const below = headers[index + 1];
    if (below && header.parent !== below.id)
      throw refusal(
        file.name,
        `it holds the changes to the disk ${header.parent}, which is not the one below it`,
      );
    if (!below && header.parent)
      throw refusal(file.name, 'it holds the changes to another disk, which is missing');
    if (header.size !== top.size)
      throw refusal(file.name, `it has ${header.size} bytes, its snapshot ${top.size}`);
    await image.lay(file, vdiRuns(file, header));
    image.beginLayer();
  }
  return { path: image.path, format: 'raw' as const, size: top.size };
}
