import { posix } from 'node:path';
import { diskIn, type DiskFileFormat } from './disk-file.ts';
import { formatOfSuffix } from './disk-suffix.ts';
import type { ReadMachine } from './open-appliance.ts';
import { refusal } from './refuse.ts';
import type { ApplianceFile, ApplianceSource } from './source.ts';

/** A disk alone: the machine around it is a plain one, with what guests of all ages know. */
export function readBareDisk(
  file: ApplianceFile,
  source: ApplianceSource,
  format: DiskFileFormat | undefined = formatOfSuffix(file.name),
): ReadMachine {
  if (format === undefined)
    throw refusal(
      file.name,
      'its name does not say what kind of disk it is: say it with --format (raw, qcow2, vmdk, vdi, vhdx, vhd or parallels)',
    );
  const name = posix.basename(file.name).replace(/\.[^.]*$/, '');
  return {
    machine: {
      name,
      arch: 'x86_64',
      memory: 2 ** 30,
      vcpus: 1,
      // Only disks of Hyper-V's second generation say by themselves how they boot, and only to their firmware.
      firmware: 'bios',
      tpm: false,
      nics: [{}],
    },
    disks: [{ entry: { name, bus: 'sata', cdrom: false }, take: diskIn(file, source, { format }) }],
    warnings: ['a disk says nothing of its machine: it gets 1 GiB of memory, 1 CPU and BIOS'],
  };
}
