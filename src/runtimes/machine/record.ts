import { readFile, rename, writeFile } from 'node:fs/promises';
import type { MachineHardware } from '../../engine/machine.ts';
import type { Workload } from '../../engine/runtime.ts';
import { errnoOf } from '../../lib/errors.ts';

/** What a later daemon must know of a machine to go on with it. */
export interface MachineRecord {
  version: 1;
  workload: Workload;
  /** As it is now. */
  hardware: MachineHardware;
  links: MachineLink[];
  /** What of the host is visible inside, by its host path: the name in `/files`. */
  exposed: Record<string, { name: string; write: boolean }>;
  /** Which QEMU is the machine's; a second one is made for a migration. */
  generation: number;
  accelerator: 'kvm' | 'tcg';
  phase: 'created' | 'running';
  /** ISO 8601 */
  startedAt?: string;
  /** QEMU was told to end, and this is why; else a guest that ended did so itself. */
  ending?: string;
}

export interface MachineLink {
  /** Of its netdev: `tap0`; the device is `net0`. */
  index: number;
  /** Of the pod's interface. */
  name: string;
  tap: string;
  macAddress: string;
  model: string;
  /** bytes; absent: 1500 */
  mtu?: number;
}

/** Whole or not at all. */
export async function writeMachineRecord(path: string, record: MachineRecord): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

export async function readMachineRecord(path: string): Promise<MachineRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(path, 'utf8')) as MachineRecord;
    return record.version === 1 ? record : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
