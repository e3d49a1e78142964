import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Workload } from '../../engine/runtime.ts';
import type { GuestLink } from '../../host/guest-link.ts';
import { errnoOf } from '../../lib/errors.ts';

/** What a later daemon must know of a microVM to go on with it. */
export interface VmRecord {
  version: 1;
  workload: Workload;
  /** bytes */
  memory: number;
  links: GuestLink[];
  /** Set when it was booted before it had a workload: the container that confines its monitor, and its process. */
  booted?: { monitor: string; pid: number };
  /** `running` since its program was executed in the guest. */
  phase: 'created' | 'running';
  /** ISO 8601 */
  startedAt?: string;
  /** Why an end that nobody else explains was made. */
  reason?: string;
}

/** Whole or not at all. */
export async function writeVmRecord(path: string, record: VmRecord): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

export async function readVmRecord(path: string): Promise<VmRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(path, 'utf8')) as VmRecord;
    return record.version === 1 ? record : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
