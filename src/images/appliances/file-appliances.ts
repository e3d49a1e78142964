import { basename, dirname, join, posix } from 'node:path';
import { stat } from 'node:fs/promises';
import { errnoOf } from '../../lib/errors.ts';
import type {
  Appliance,
  ApplianceDiskFile,
  ApplianceFormat,
  ApplianceHint,
  Appliances,
} from '../appliances.ts';
import { ApplianceArchive } from './archive.ts';
import { readBareDisk } from './bare-disk.ts';
import { formatOfSuffix } from './disk-suffix.ts';
import { readManifest } from './manifest.ts';
import { OpenAppliance, type ReadMachine } from './open-appliance.ts';
import { readOvf } from './ovf.ts';
import { writeOva } from './ova-write.ts';
import { refusal } from './refuse.ts';
import { openGiven, readAll, type ApplianceFile, type ApplianceSource } from './source.ts';
import { readLibvirt } from './libvirt.ts';
import { readHyperV } from './hyperv.ts';
import { readPvs } from './pvs.ts';
import { readVbox } from './vbox.ts';
import { readVmx } from './vmx.ts';
import { readXl } from './xl.ts';
import { readXml } from './xml.ts';
import { readXva } from './xva.ts';

/** Machines of other hypervisors, in files of this host. */
export function fileAppliances(): Appliances {
  return { read: readAppliance, write: writeOva };
}

type Reader = (file: ApplianceFile, source: ApplianceSource, signal?: AbortSignal) => Promise<ReadMachine>;

async function readAppliance(
  path: string,
  options: { hint?: ApplianceHint; signal?: AbortSignal } = {},
): Promise<Appliance> {
  const { hint, signal } = options;
  if (!path.startsWith('/')) throw refusal(path, 'an absolute path is needed');
  const { file, source } = await given(path);
  try {
    const format = await formatOf(file, hint);
    if (format === 'ova') return await readOva(file, source);
    const read = await readers(format, hint)(file, source, signal);
    return new OpenAppliance(format, file.name, read, source);
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

/** Of a bundle, the file in it that says what it is; of an export of Hyper-V, its whole directory. */
async function given(path: string) {
  try {
    if (!(await stat(path)).isDirectory())
      return await openGiven(path, basename(dirname(path)) === 'Virtual Machines' ? 2 : 1);
    if (/\.pvm\/?$/i.test(path)) return await openGiven(join(path, 'config.pvs'));
    if (/\.hdd\/?$/i.test(path)) return await openGiven(join(path, 'DiskDescriptor.xml'), 2);
    throw refusal(path, 'it is a directory: give the file in it that describes the machine');
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') throw refusal(path, 'there is no such file', error);
    throw error;
  }
}

/** The archive keeps `source` open. */
async function readOva(file: ApplianceFile, source: AsyncDisposable): Promise<Appliance> {
  const archive = await ApplianceArchive.open(file, source);
  const descriptors = archive.members.filter((member) => /\.ovf$/i.test(member.name));
  if (descriptors.length !== 1)
    throw refusal(file.name, `it has ${descriptors.length} descriptors (.ovf), an OVA has one`);
  const [descriptor] = descriptors as [ApplianceFile];
  const manifest = await readManifest(archive, descriptor.name.replace(/\.ovf$/i, '.mf'));
  const read = await readOvf(descriptor, archive, manifest);
  return new OpenAppliance('ova', file.name, read, archive);
}

const ovf: Reader = async (file, source) =>
  await readOvf(file, source, await readManifest(source, file.name.replace(/\.ovf$/i, '.mf')));

function readers(format: Exclude<ApplianceFormat, 'ova'>, hint: ApplianceHint | undefined): Reader {
  switch (format) {
    case 'ovf':
      return ovf;
    case 'vmx':
      return readVmx;
    case 'vbox':
      return readVbox;
    case 'vmcx':
      return readHyperV;
    case 'xva':
      return readXva;
    case 'xl':
      return readXl;
    case 'pvs':
      return readPvs;
    case 'libvirt':
      return readLibvirt;
    case 'disk':
      return (file, source, signal) => readBareDisk(file, source, diskHint(hint), signal);
  }
}

const suffixes: Record<string, ApplianceFormat> = {
  '.ova': 'ova',
  '.ovf': 'ovf',
  '.vmx': 'vmx',
  '.vbox': 'vbox',
  '.vmcx': 'vmcx',
  '.xva': 'xva',
  '.cfg': 'xl',
  '.xl': 'xl',
  '.pvs': 'pvs',
};

const diskFormats: Record<ApplianceDiskFile['format'], true> = {
  qcow2: true,
  raw: true,
  vmdk: true,
  vdi: true,
  vhdx: true,
  vpc: true,
  parallels: true,
};

function diskHint(hint: ApplianceHint | undefined): ApplianceDiskFile['format'] | undefined {
  return hint !== undefined && hint in diskFormats ? (hint as ApplianceDiskFile['format']) : undefined;
}

async function formatOf(file: ApplianceFile, hint: ApplianceHint | undefined): Promise<ApplianceFormat> {
  const { name } = file;
  if (diskHint(hint) || posix.basename(name) === 'DiskDescriptor.xml') return 'disk';
  if (hint !== undefined) return hint as ApplianceFormat;
  const suffix = posix.extname(name).toLowerCase();
  if (suffixes[suffix]) return suffixes[suffix];
  if (/\.xva\.(gz|zst|xz)$/i.test(name)) return 'xva';
  if (formatOfSuffix(name)) return 'disk';
  if (suffix === '.xml') return await formatOfXml(file);
  const known = [...new Set(Object.values(suffixes)), 'libvirt'].join(', ');
  throw refusal(
    name,
    `its name does not say what it is: say it with --format (${known}, or the format of a disk)`,
  );
}

/** Hyper-V's older settings, or libvirt's. */
async function formatOfXml(file: ApplianceFile): Promise<ApplianceFormat> {
  const roots = ['domain', 'domstatus', 'domainsnapshot', 'configuration'];
  return readXml(await readAll(file), file.name, roots).name === 'configuration' ? 'vmcx' : 'libvirt';
}
