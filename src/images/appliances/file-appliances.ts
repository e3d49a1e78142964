import { posix } from 'node:path';
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
import { openGiven, type ApplianceFile, type ApplianceSource } from './source.ts';
import { readVmx } from './vmx.ts';

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
    const format = formatOf(file.name, hint);
    if (format === 'ova') return await readOva(file, source, signal);
    const read = await readers(format, hint)(file, source, signal);
    return new OpenAppliance(format, file.name, read, source);
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

async function given(path: string) {
  try {
    if ((await stat(path)).isDirectory())
      throw refusal(path, 'it is a directory: give the file in it that describes the machine');
    return await openGiven(path);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') throw refusal(path, 'there is no such file', error);
    throw error;
  }
}

/** The archive keeps `source` open. */
async function readOva(
  file: ApplianceFile,
  source: AsyncDisposable,
  signal: AbortSignal | undefined,
): Promise<Appliance> {
  const archive = await ApplianceArchive.open(file, source);
  const descriptors = archive.members.filter((member) => /\.ovf$/i.test(member.name));
  if (descriptors.length !== 1)
    throw refusal(file.name, `it has ${descriptors.length} descriptors (.ovf), an OVA has one`);
  const [descriptor] = descriptors as [ApplianceFile];
  const manifest = await readManifest(archive, descriptor.name.replace(/\.ovf$/i, '.mf'));
  const read = await readOvf(descriptor, archive, manifest, signal);
  return new OpenAppliance('ova', file.name, read, archive);
}

const ovf: Reader = async (file, source, signal) =>
  await readOvf(file, source, await readManifest(source, file.name.replace(/\.ovf$/i, '.mf')), signal);

function readers(format: Exclude<ApplianceFormat, 'ova'>, hint: ApplianceHint | undefined): Reader {
  switch (format) {
    case 'ovf':
      return ovf;
    case 'vmx':
      return readVmx;
    case 'disk':
      return (file, source) => Promise.resolve(readBareDisk(file, source, diskHint(hint)));
    default:
      throw refusal(format, 'this is not read');
  }
}

const suffixes: Record<string, ApplianceFormat> = {
  '.ova': 'ova',
  '.ovf': 'ovf',
  '.vmx': 'vmx',
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

function formatOf(name: string, hint: ApplianceHint | undefined): ApplianceFormat {
  if (diskHint(hint)) return 'disk';
  if (hint !== undefined) return hint as ApplianceFormat;
  const suffix = posix.extname(name).toLowerCase();
  if (suffixes[suffix]) return suffixes[suffix];
  if (formatOfSuffix(name)) return 'disk';
  throw refusal(
    name,
    `its name does not say what it is: say it with --format (${[...new Set(Object.values(suffixes))].join(', ')}, or the format of a disk)`,
  );
}
