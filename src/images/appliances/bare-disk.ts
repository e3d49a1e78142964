import { posix } from 'node:path';
import { firmwareOf } from './boot-layout.ts';
import { diskIn, type DiskFileFormat } from './disk-file.ts';
import { formatOfSuffix } from './disk-suffix.ts';
import type { ReadMachine, TakeDisk } from './open-appliance.ts';
import { parallelsDisk } from './parallels-disk.ts';
import { refusal } from './refuse.ts';
import type { ApplianceFile, ApplianceSource } from './source.ts';

/** A disk alone: the machine around it is a plain one, with what guests of all ages know. */
export async function readBareDisk(
  file: ApplianceFile,
  source: ApplianceSource,
  format?: DiskFileFormat,
  signal?: AbortSignal,
): Promise<ReadMachine> {
  const { take, from, known } = await takerOf(file, source, format);
  const name = posix.basename(from).replace(/\.[^.]*$/, '');
  const layout = known && file.path ? await firmwareOf(file.path, known, signal) : undefined;
  const firmware = layout ?? 'bios';
  return {
    machine: { name, arch: 'x86_64', memory: 2 ** 30, vcpus: 1, firmware, tpm: false, nics: [{}] },
    disks: [{ entry: { name, bus: 'sata', cdrom: false }, take }],
    warnings: [
      `a disk says nothing of its machine: it gets 1 GiB of memory, 1 CPU and ${firmware === 'bios' ? 'BIOS' : 'UEFI, as its partitions ask for'} (isle vm edit changes them)`,
    ],
  };
}

async function takerOf(
  file: ApplianceFile,
  source: ApplianceSource,
  hint: DiskFileFormat | undefined,
): Promise<{ take: TakeDisk; from: string; known?: DiskFileFormat }> {
  // Of a Parallels bundle, which is a directory.
  if (posix.basename(file.name) === 'DiskDescriptor.xml') {
    const bundle = posix.dirname(file.name);
    return { ...(await parallelsDisk(bundle, source)), from: bundle };
  }
  const format = hint ?? formatOfSuffix(file.name);
  if (format === undefined)
    throw refusal(
      file.name,
      'its name does not say what kind of disk it is: say it with --format (raw, qcow2, vmdk, vdi, vhdx, vhd or parallels)',
    );
  return { take: diskIn(file, source, { format }), from: file.name, known: format };
}
