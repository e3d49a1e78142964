import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Resources, Ulimit } from '../../engine/model.ts';
import type { Ending, IdMap, Workload } from '../../engine/runtime.ts';
import { errnoOf } from '../../lib/errors.ts';
import type { OciSpec } from './spec-types.ts';

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
  /** Whether /dev/shm is a file system of its own on the host (see shared-memory.ts). */
  sharesMemory: boolean;
  /** What an exec inherits. */
  hostname: string;
  capabilities: string[];
  noNewPrivileges: boolean;
  apparmorProfile?: string;
  groupAdd: string[];
  ulimits: Ulimit[];
  idMap?: IdMap;
  /** Of what boots an init. */
  ending?: Ending;
  /** Limits in force. */
  resources: Resources;
}

export function recordOf(
  workload: Workload,
  spec: OciSpec,
  bootId: string,
  ending: Ending | undefined,
): RunRecord {
  const { capabilities, noNewPrivileges, apparmorProfile } = spec.process;
  return {
    version: 1,
    bootId,
    tty: workload.tty,
    stdin: workload.stdin,
    stdinOnce: workload.stdinOnce,
    cgroup: spec.linux.cgroupsPath,
    ownPids: workload.pid === 'private',
    sharesMemory: workload.ipc === 'shareable',
    hostname: workload.hostname,
    capabilities: capabilities.bounding,
    noNewPrivileges,
    apparmorProfile,
    groupAdd: workload.groupAdd,
    idMap: workload.idMap,
    ulimits: workload.ulimits,
    ...(ending && { ending }),
    resources: workload.resources,
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
