import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Workload } from '../../engine/runtime.ts';
import { errnoOf } from '../../lib/errors.ts';

/** What a later daemon must know of a workload to go on with it; lies in its bundle. */
export interface RunRecord {
  version: 1;
  /** Another one: the host was rebooted, nothing of it runs. */
  bootId: string;
  tty: boolean;
  stdin: boolean;
  stdinOnce: boolean;
  cgroup: string;
  /** Whether killing the first process ends all others too. */
  ownPids: boolean;
  command: string;
}

export function recordOf(workload: Workload, cgroup: string, bootId: string): RunRecord {
  return {
    version: 1,
    bootId,
    tty: workload.tty,
    stdin: workload.stdin,
    stdinOnce: workload.stdinOnce,
    cgroup,
    ownPids: workload.pid === 'private',
    command: workload.args[0] ?? '',
  };
}

export async function writeRecord(bundle: string, record: RunRecord): Promise<void> {
  await writeFile(join(bundle, 'workload.json'), JSON.stringify(record), { mode: 0o600 });
}

/** Undefined when there is none, or a crash left half of one. */
export async function readRecord(bundle: string): Promise<RunRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(join(bundle, 'workload.json'), 'utf8')) as RunRecord;
    return record.version === 1 ? record : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A number that conmon or the OCI runtime wrote into `path`, undefined when it is not there (yet). */
export async function readNumber(path: string): Promise<number | undefined> {
  try {
    const text = (await readFile(path, 'latin1')).trim();
    return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
