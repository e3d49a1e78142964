import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errnoOf } from '../../lib/errors.ts';
import { systemError } from '../system-error.ts';
import { isGone, readControl } from './files.ts';

/** The names of the groups directly under `directory`. */
export async function childGroups(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Pids in the group at `directory` and below. */
export async function processesIn(directory: string): Promise<number[]> {
  const own = (await readProcs(directory)) ?? '';
  const pids = own.split('\n').filter(Boolean).map(Number);
  for (const child of await childGroups(directory)) pids.push(...(await processesIn(join(directory, child))));
  return pids;
}

/** Removes the group and all below it, deepest first. A group is busy until its last process has been reaped. */
export async function removeGroup(directory: string, timeout = 5000): Promise<void> {
  const deadline = performance.now() + timeout;
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    try {
      await rmdir(directory);
      return;
    } catch (error) {
      if (isGone(error)) return;
      if (errnoOf(error) !== 'EBUSY' && errnoOf(error) !== 'ENOTEMPTY') throw error;
      if (performance.now() > deadline) throw error;
    }
    const children = await childGroups(directory);
    await Promise.all(children.map((child) => removeGroup(join(directory, child), timeout)));
    // No event tells when a v1 group has become free.
    if (children.length === 0) await delay(pause);
  }
}

/** Removes the group unless it holds a process or another group. False when it stays. */
export async function removeEmptyGroup(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    if (isGone(error)) return true;
    if (errnoOf(error) === 'EBUSY' || errnoOf(error) === 'ENOTEMPTY') return false;
    throw error;
  }
}

/** Repeats `step` until it says true, with pauses from 1 to 50 ms. Throws ETIMEDOUT. */
export async function until(what: string, step: () => Promise<boolean>, timeout = 10_000): Promise<void> {
  const deadline = performance.now() + timeout;
  for (let pause = 1; !(await step()); pause = Math.min(pause * 2, 50)) {
    if (performance.now() > deadline) throw systemError('ETIMEDOUT', what);
    await delay(pause);
  }
}

/** A threaded group of v2 has no process list (EOPNOTSUPP): its processes are in the list of its domain. */
async function readProcs(directory: string): Promise<string | undefined> {
  try {
    return await readControl(join(directory, 'cgroup.procs'));
  } catch (error) {
    if (errnoOf(error) === 'ENOTSUP' || errnoOf(error) === 'EOPNOTSUPP') return undefined;
    throw error;
  }
}
