import { isleError } from '../../../lib/errors.ts';
import type { BackupList, BackupRepository } from '../../../storage/backups/repository.ts';
import { longestChain } from '../../../storage/backups/repository.ts';
import type { BackupManifest } from '../../../storage/backups/manifest.ts';
import type { BlockDisk, MachineDisk } from '../../machine.ts';
import type { BackupRequest } from '../../machines.ts';
import type { BackupBases } from './bases.ts';

export interface Choice {
  /** What an increment stands on. */
  parent?: BackupManifest;
  /** Why there is none, although one was wanted. */
  reason?: string;
}

export interface Situation {
  machine: string;
  disks: MachineDisk[];
  blocks: BlockDisk[];
  bases: BackupBases;
  repository: BackupRepository;
  list: BackupList;
}

/** QEMU keeps track of the changes of qcow2 disks that are written. */
export function isTracked({ format, readOnly }: Pick<MachineDisk, 'format' | 'readOnly'>): boolean {
  return format === 'qcow2' && !readOnly;
}

/** Throws `conflict` when an increment was demanded that cannot be. */
export function chooseParent(mode: BackupRequest['mode'], situation: Situation): Choice {
  if (mode === 'full') return {};
  const choice = newestBase(situation);
  if (choice.reason !== undefined && mode === 'incremental')
    throw isleError('conflict', {
      message: `an incremental backup is not possible: ${choice.reason}. Take a full one (--full), or leave the choice to Isle`,
    });
  return choice;
}

function newestBase({ machine, disks, blocks, bases, repository, list }: Situation): Choice {
  const mine = list.backups.filter((backup) => backup.machine.id === machine);
  if (mine.length === 0) return { reason: 'there is no earlier backup of this machine in the directory' };
  const tracked = disks.filter(isTracked);
  if (tracked.length === 0)
    return { reason: 'none of its disks is a qcow2 image that it writes: only of those changes are known' };
  const parent = mine.findLast(({ id }) => bases.ids.includes(id));
  if (!parent) {
    return { reason: bases.lost ?? 'what changed since the last backup there has not been kept track of' };
  }
  const problem = tracked.map((disk) => problemOf(disk, parent, blocks)).find((one) => one !== undefined);
  if (problem !== undefined) return { reason: problem };
  try {
    const { length } = repository.chainOf(parent, list);
    if (length >= longestChain) return { reason: `the last one stands on ${length - 1} others already` };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
  return { parent };
}

function problemOf({ target }: MachineDisk, parent: BackupManifest, blocks: BlockDisk[]): string | undefined {
  const before = parent.disks.find((disk) => disk.target === target);
  if (!before) return `the disk ${target} is not in the last backup`;
  const now = blocks.find((disk) => disk.target === target);
  if (before.virtual !== now?.size) return `the disk ${target} was resized since the last backup`;
  const bitmap = now.bitmaps.find(({ name }) => name === parent.id);
  if (!bitmap) return `the disk ${target} is another one since the last backup`;
  if (!bitmap.whole)
    return `what changed on the disk ${target} is not known: its machine was killed since the last backup`;
  return undefined;
}
