import { isleError } from '../../../lib/errors.ts';
import type { MachineSnapshot } from '../../machine.ts';
import type { MachineRecord } from '../record.ts';

/** Of one machine: each makes every change of its disks a little slower. */
const most = 500;

/** The name that was asked for, checked, or the next free `snap0`, `snap1`, … */
export function nameForSnapshot({ name, spec }: MachineRecord, asked: string | undefined): string {
  const { snapshots } = spec.machine;
  if (snapshots.length >= most)
    throw isleError('conflict', {
      message: `the machine "${name}" has ${snapshots.length} snapshots: remove some with "isle vm snapshot-delete"`,
    });
  if (asked === undefined) {
    const numbers = snapshots.map((one) => Number(/^snap(\d{1,9})$/.exec(one.name)?.[1] ?? -1));
    return `snap${Math.max(-1, ...numbers) + 1}`;
  }
  checkSnapshotName(asked);
  if (snapshots.some((one) => one.name === asked))
    throw isleError('conflict', {
      message: `the machine "${name}" has a snapshot "${asked}" already: remove it or take another name`,
    });
  return asked;
}

/** Part of QEMU's commands and of paths; digits alone would be taken for a number that QEMU gives. Throws `invalidParameter`. */
export function checkSnapshotName(name: string): void {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name) && !/^\d+$/.test(name)) return;
  const shown = JSON.stringify(name.slice(0, 300)).slice(1, -1);
  throw isleError('invalidParameter', {
    message: `invalid snapshot name (${shown}): only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at most 128 characters, and not digits alone`,
  });
}

/** Throws `noSuchMachineSnapshot`. */
export function findSnapshot({ name: machine, spec }: MachineRecord, name: string): MachineSnapshot {
  const found = spec.machine.snapshots.find((one) => one.name === name);
  if (found) return found;
  throw isleError('noSuchMachineSnapshot', {
    id: machine,
    name: JSON.stringify(name.slice(0, 300)).slice(1, -1),
  });
}
