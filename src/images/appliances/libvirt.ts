import { posix } from 'node:path';
import type { ApplianceDiskFile, ApplianceMachine } from '../appliances.ts';
import { macOf, memoryOf, uuidOf, vcpusOf } from './bounds.ts';
import { diskIn } from './disk-file.ts';
import { nicModel, scsiController } from './hardware-words.ts';
import type { ReadMachine } from './open-appliance.ts';
import { refusal } from './refuse.ts';
import { findBeside, readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { readXml, type Xml } from './xml.ts';

/** A domain of libvirt, as `virsh dumpxml` says it, with its disks beside it. https://libvirt.org/formatdomain.html */
export async function readLibvirt(file: ApplianceFile, source: ApplianceSource): Promise<ReadMachine> {
  const where = file.name;
  const content = await readAll(file);
  const root = readXml(content, where, ['domain', 'domstatus', 'domainsnapshot']);
  const domain = root.name === 'domain' ? root : root.child('domain');
  if (domain === undefined) throw refusal(where, 'it has no <domain>');
  const devices = domain.child('devices');
  const warnings: string[] = [];
  if (domain.child('os', 'kernel'))
    warnings.push('it booted a kernel of its host: the machine boots from its disks instead');
  if (domain.child('os', 'type')?.text === 'exe' || domain.attribute('type') === 'lxc')
    throw refusal(where, 'it describes a container, not a machine');
  return {
    machine: {
      name: domain.value('name') ?? posix.basename(where, '.xml'),
      uuid: uuidOf(domain.value('uuid')),
      description: (domain.value('description') ?? domain.value('title'))?.slice(0, 4096),
      ...osOf(domain),
      arch: archOf(domain, where),
      memory: memoryOf(domain.value('memory') ?? '', unitOf(domain.child('memory'), where), where),
      vcpus: vcpusOf(domain.child('vcpu')?.attribute('current') ?? domain.value('vcpu') ?? '1', where),
      firmware: firmwareOf(domain),
      tpm: devices?.child('tpm') !== undefined,
      nics: (devices?.children('interface') ?? []).map(nicOf),
    },
    disks: await disksOf(domain, { where, source, warnings }),
    warnings,
  };
}

const units: Record<string, number> = {
  b: 1,
  bytes: 1,
  kb: 1e3,
  k: 2 ** 10,
  kib: 2 ** 10,
  mb: 1e6,
  m: 2 ** 20,
  mib: 2 ** 20,
  gb: 1e9,
  g: 2 ** 30,
  gib: 2 ** 30,
  tb: 1e12,
  t: 2 ** 40,
  tib: 2 ** 40,
};

function unitOf(memory: Xml | undefined, where: string): number {
  const unit = units[(memory?.attribute('unit') ?? 'KiB').toLowerCase()];
  if (unit === undefined) throw refusal(where, `its memory has the unit "${memory?.attribute('unit')}"`);
  return unit;
}

/** libosinfo's URLs, such as `http://debian.org/debian/12`. */
function osOf(domain: Xml): Pick<ApplianceMachine, 'os'> {
  const url = domain.child('metadata')?.descendants('os')[0]?.attribute('id');
  const match = /^https?:\/\/[^/]+\/([a-z-]+)(?:\/([\w.]+))?$/.exec(url ?? '');
  if (!match) return {};
  const variant = `${match[1]}${match[2] ?? ''}`.replace(/^win(dows)?\//, 'win');
  return { os: { text: url!, variant } };
}

function archOf(domain: Xml, where: string): ApplianceMachine['arch'] {
  const arch = domain.child('os', 'type')?.attribute('arch') ?? 'x86_64';
  if (/^(x86_64|i[3-6]86)$/.test(arch)) return 'x86_64';
  if (arch === 'aarch64' || arch === 'riscv64') return arch;
  throw refusal(where, `it is of the architecture ${arch}, Isle has x86_64, aarch64 and riscv64`);
}

function firmwareOf(domain: Xml): ApplianceMachine['firmware'] {
  const os = domain.child('os');
  const loader = os?.child('loader');
  const efi = os?.attribute('firmware') === 'efi' || loader?.attribute('type') === 'pflash';
  if (!efi) return 'bios';
  const features = os?.child('firmware')?.children('feature') ?? [];
  const secure =
    loader?.attribute('secure') === 'yes' ||
    features.some((each) => each.attribute('name') === 'secure-boot' && each.attribute('enabled') === 'yes');
  return secure ? 'uefi-secure' : 'uefi';
}

function nicOf(nic: Xml): ApplianceMachine['nics'][number] {
  const source = nic.child('source');
  return {
    macAddress: macOf(nic.child('mac')?.attribute('address')),
    model: nicModel(nic.child('model')?.attribute('type')),
    network: source?.attribute('network') ?? source?.attribute('bridge') ?? source?.attribute('dev'),
  };
}

interface Context {
  where: string;
  source: ApplianceSource;
  warnings: string[];
}

async function disksOf(domain: Xml, context: Context): Promise<ReadMachine['disks']> {
  const devices = domain.child('devices');
  const scsi = devices?.children('controller').find((each) => each.attribute('type') === 'scsi');
  const disks: ReadMachine['disks'] = [];
  for (const disk of devices?.children('disk') ?? []) {
    const found = await diskOf(disk, scsi?.attribute('model'), context);
    if (found) disks.push(found);
  }
  return disks;
}

const buses: Record<string, ApplianceMachine['disks'][number]['bus']> = {
  virtio: 'virtio',
  scsi: 'scsi',
  sata: 'sata',
  ide: 'ide',
  nvme: 'nvme',
  // Xen's own disks and USB are nothing that a guest boots from here.
  xen: 'virtio',
  usb: 'sata',
};

async function diskOf(disk: Xml, scsi: string | undefined, { where, source, warnings }: Context) {
  const kind = disk.attribute('device') ?? 'disk';
  const target = disk.child('target');
  const name = target?.attribute('dev') ?? kind;
  const path = disk.child('source')?.attribute('file') ?? disk.child('source')?.attribute('dev');
  if (kind === 'floppy' || kind === 'lun') {
    warnings.push(`${name} is a ${kind} and is left out`);
    return undefined;
  }
  const bus = buses[target?.attribute('bus') ?? (/^vd/.test(name) ? 'virtio' : 'ide')] ?? 'sata';
  const boot = Number(disk.child('boot')?.attribute('order'));
  const entry = {
    name,
    bus,
    ...(bus === 'scsi' && { controller: scsi === undefined ? 'virtio-scsi' : scsiController(scsi) }),
    cdrom: kind === 'cdrom',
    ...(boot > 0 && { boot }),
  };
  if (entry.cdrom) {
    if (path) warnings.push(`the CD in ${name} is not taken along: the drive is empty`);
    return { entry };
  }
  if (disk.attribute('type') !== 'file' || !path)
    throw refusal(
      where,
      `its disk ${name} is a "${disk.attribute('type')}", not a file: copy it to a file beside the description, and name that there`,
    );
  const format = formatOf(disk.child('driver')?.attribute('type'), name, where);
  const file = await findBeside(source, path, where);
  if (file === undefined)
    throw refusal(
      where,
      `its disk "${path}" is not beside it: copy it into the directory of the description`,
    );
  return { entry, take: diskIn(file, source, { format }) };
}

const formats: Record<string, ApplianceDiskFile['format']> = {
  raw: 'raw',
  qcow2: 'qcow2',
  vmdk: 'vmdk',
  vdi: 'vdi',
  vhdx: 'vhdx',
  vpc: 'vpc',
  parallels: 'parallels',
};

/** Never looked for in the disk: its guest could have written what makes it another. */
function formatOf(driver: string | undefined, name: string, where: string): ApplianceDiskFile['format'] {
  const format = formats[driver ?? 'raw'];
  if (format === undefined)
    throw refusal(where, `its disk ${name} has the driver type "${driver}", which is not read`);
  return format;
}
