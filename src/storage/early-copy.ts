import { mkdir } from 'node:fs/promises';
import { diskSpace } from '../host/disk.ts';
import { removeTree, syncFilesystem } from '../host/tree-async.ts';
import { errnoOf } from '../lib/errors.ts';
import type { StorageWorkers } from './storage-workers.ts';

/**
 * File systems that write-protect a page when they write it to the disk, so that the next write to mapped memory changes the
 * file's ctime: only there does an old ctime mean that nothing was written since.
 */
const protecting = ['ext4', 'xfs', 'btrfs', 'f2fs'];

/** Milliseconds: ctime comes from a clock that ticks, and may be behind by a tick. */
const slack = 100;
/** Milliseconds by which the wall clock may drift while a copy is made; more means that somebody set it. */
const drift = 50;

/**
 * Copies the directory `from`, which somebody writes to, into the empty directory `to`: most of it before `quietly` makes the
 * writers hold still, and then only what changed since.
 */
export async function copyInTwo(
  workers: StorageWorkers,
  from: string,
  to: string,
  quietly: (copy: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const whole = (): Promise<void> => workers.copyTree(from, to);
  if (!protecting.includes((await diskSpace(from)).type)) return await quietly(whole);
  const clock = wallOffset();
  const since = Date.now();
  await syncFilesystem(from);
  const copying = workers.copyInTwo(from, to);
  try {
    if (!(await isEarly(copying.early, to))) return await quietly(whole);
    await quietly(() => copying.finish(Math.abs(wallOffset() - clock) < drift ? since - slack : 0));
  } finally {
    await copying.end();
  }
}

/** Whoever moves directories about under the copier wins: then all is copied at the end. */
async function isEarly(early: Promise<void>, to: string): Promise<boolean> {
  try {
    await early;
    return true;
  } catch (error) {
    if (['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')) throw error;
    await removeTree(to);
    await mkdir(to, { mode: 0o700 });
    return false;
  }
}

function wallOffset(): number {
  return Date.now() - performance.now();
}
