import { posix } from 'node:path';
import type { ApplianceMachine } from '../appliances.ts';
import { macOf, uuidOf } from './bounds.ts';
import { diskIn, emptyDisk, type DiskFileFormat } from './disk-file.ts';
import { formatOfSuffix } from './disk-suffix.ts';
import { nicModel } from './hardware-words.ts';
import { checkContent, type Manifest } from './manifest.ts';
import type { ReadMachine } from './open-appliance.ts';
import { osVariantOf } from './os-names.ts';
import { readEnvelope, section, type Envelope, type OvfDisk } from './ovf-envelope.ts';
import { readHardware, type OvfDrive } from './ovf-hardware.ts';
import { refusal } from './refuse.ts';
import { readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { readXml, type Xml } from './xml.ts';

/** An OVF descriptor, whoever wrote it. `manifest`: checksums that its files have to have. */
export async function readOvf(
  file: ApplianceFile,
  source: ApplianceSource,
  manifest: Manifest | undefined,
): Promise<ReadMachine> {
  const where = file.name;
  const content = await readAll(file);
  checkContent(manifest, file.name, content);
  const envelope = readEnvelope(readXml(content, where, 'Envelope'), where);
  const { system } = envelope;
  const sections = [
    ...system.children('VirtualHardwareSection'),
    ...system
      .children('Section')
      .filter((each) => each.attribute('type')?.endsWith('VirtualHardwareSection_Type')),
  ];
  if (sections.length === 0) throw refusal(where, 'it says nothing of hardware (no VirtualHardwareSection)');
  const hardware = readHardware(sections[0]!, where);
  const warnings = [...hardware.warnings];
  if (sections.length > 1) warnings.push('it has several hardware sections: the first one is taken');
  const vbox = system.child('Machine');
  return {
    machine: {
      name: nameOf(system, sections[0]!, where),
      uuid: uuidOf(vbox?.attribute('uuid')),
      description: descriptionOf(system),
      os: osOf(system, vbox),
      arch: archOf(system, vbox),
      memory: hardware.memory,
      vcpus: hardware.vcpus,
      firmware: firmwareOf(sections[0]!, vbox),
      tpm:
        hardware.tpm || /v2/.test(vbox?.child('Hardware', 'TrustedPlatformModule')?.attribute('type') ?? ''),
      nics: withVirtualBoxCards(hardware.nics, vbox),
    },
    disks: await disksOf(hardware.disks, envelope, { where, source, manifest, warnings }),
    warnings,
  };
}

function nameOf(system: Xml, hardware: Xml, where: string): string {
  return (
    system.value('Name') ??
    hardware.value('System', 'VirtualSystemIdentifier') ??
    system.attribute('id') ??
    posix.basename(where, '.ovf')
  );
}

function descriptionOf(system: Xml): string | undefined {
  return section(system, 'AnnotationSection')?.value('Annotation')?.slice(0, 4096);
}

function osOf(system: Xml, vbox: Xml | undefined): ApplianceMachine['os'] {
  const os = section(system, 'OperatingSystemSection');
  const texts = [
    os?.attribute('osType'),
    os?.value('OSType'),
    vbox?.attribute('OSType'),
    os?.value('Description'),
  ].filter((text) => text !== undefined);
  if (texts.length === 0) return undefined;
  return {
    text: texts[0]!.slice(0, 200),
    variant: texts
      .toReversed()
      .map(osVariantOf)
      .find((word) => word !== undefined),
  };
}

function archOf(system: Xml, vbox: Xml | undefined): ApplianceMachine['arch'] {
  const platform = vbox?.child('Platform')?.attribute('architecture') ?? '';
  const os = section(system, 'OperatingSystemSection');
  const type = `${platform} ${os?.attribute('osType') ?? ''} ${os?.value('OSType') ?? ''}`;
  return /\barm|arm64|aarch64/i.test(type) ? 'aarch64' : 'x86_64';
}

function firmwareOf(hardware: Xml, vbox: Xml | undefined): ApplianceMachine['firmware'] {
  const settings = ['Config', 'ExtraConfig'].flatMap((name) => hardware.children(name));
  const value = (key: RegExp): string | undefined =>
    settings.find((each) => key.test(each.attribute('key') ?? ''))?.attribute('value');
  const efi =
    /efi/i.test(value(/^firmware$/) ?? '') ||
    /^EFI/.test(
      vbox?.child('Hardware', 'Firmware')?.attribute('type') ??
        vbox?.child('Hardware', 'Platform', 'Firmware')?.attribute('type') ??
        '',
    );
  if (!efi) return 'bios';
  return /true/i.test(value(/secureboot/i) ?? '') ? 'uefi-secure' : 'uefi';
}

/** OVF as VirtualBox writes it leaves the addresses to its own description of the machine. */
function withVirtualBoxCards(
  nics: ApplianceMachine['nics'],
  vbox: Xml | undefined,
): ApplianceMachine['nics'] {
  const adapters = (vbox?.child('Hardware', 'Network')?.children('Adapter') ?? []).filter((each) =>
    /true|1/.test(each.attribute('enabled') ?? ''),
  );
  if (adapters.length === 0 || (nics.length > 0 && nics.length !== adapters.length)) return nics;
  return adapters.map((adapter, index) => ({
    ...nics[index],
    macAddress: nics[index]?.macAddress ?? macOf(adapter.attribute('MACAddress')),
    model: nicModel(adapter.attribute('type')) ?? nics[index]?.model,
  }));
}

interface DiskContext {
  where: string;
  source: ApplianceSource;
  manifest: Manifest | undefined;
  warnings: string[];
}

async function disksOf(
  drives: OvfDrive[],
  envelope: Envelope,
  context: DiskContext,
): Promise<ReadMachine['disks']> {
  const disks: ReadMachine['disks'] = [];
  for (const drive of drives) {
    const { resource, ...entry } = drive;
    if (drive.cdrom) {
      if (resource) context.warnings.push(`the CD in ${drive.name} is not taken along: the drive is empty`);
      disks.push({ entry });
      continue;
    }
    if (resource?.kind !== 'disk')
      throw refusal(context.where, `the drive "${drive.name}" has no disk of this appliance`);
    const disk = envelope.disks.get(resource.id);
    if (disk === undefined)
      throw refusal(context.where, `there is no disk "${resource.id}", which "${drive.name}" has`);
    disks.push({ entry: { ...entry, size: disk.capacity }, take: await takerOf(disk, envelope, context) });
  }
  return disks;
}

async function takerOf(disk: OvfDisk, envelope: Envelope, { where, source, manifest }: DiskContext) {
  if (disk.fileRef === undefined) return emptyDisk(disk.capacity);
  const reference = envelope.files.get(disk.fileRef);
  if (reference === undefined) throw refusal(where, `there is no file "${disk.fileRef}" in its References`);
  const href = hrefOf(reference.href);
  const file = await source.find(href);
  if (file === undefined) throw refusal(where, `its file "${reference.href}" is missing`);
  const format = formatOf(disk.format, href, where);
  return diskIn(file, source, { format, size: disk.capacity, gzip: reference.gzip, manifest });
}

/** A relative URL; what stands for a character may be written out. */
function hrefOf(href: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(href)) throw refusal(href, 'files from elsewhere are not fetched');
  try {
    return decodeURIComponent(href);
  } catch {
    return href;
  }
}

function formatOf(uri: string, href: string, where: string): DiskFileFormat {
  if (/vmdk/i.test(uri)) return 'vmdk';
  if (/vhdx/i.test(uri)) return 'vhdx';
  if (/vhd|virtual-?hard-?disk|virtualpc/i.test(uri)) return 'vpc';
  if (/qcow/i.test(uri)) return 'qcow2';
  if (/vdi/i.test(uri)) return 'vdi';
  const bySuffix = formatOfSuffix(href.replace(/\.gz$/i, ''));
  if (bySuffix) return bySuffix;
  throw refusal(where, `the disk "${href}" has the format "${uri}", which is not known`);
}
