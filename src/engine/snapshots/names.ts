import { isleError } from '../../lib/errors.ts';
import type { ContainerSnapshot } from '../engine.ts';

/** Of one container. */
const most = 1000;

/** The name that was asked for, checked, or the next free `snap0`, `snap1`, … as Incus names them. */
export function nameForSnapshot(there: ContainerSnapshot[], asked: string | undefined): string {
  if (there.length >= most)
    throw isleError('conflict', {
      message: `there are ${there.length} snapshots of this container: remove some with "isle snapshot rm"`,
    });
  if (asked !== undefined) {
    checkSnapshotName(asked);
    return asked;
  }
  const numbers = there.map(({ name }) => Number(/^snap(\d{1,9})$/.exec(name)?.[1] ?? -1));
  return `snap${Math.max(-1, ...numbers) + 1}`;
}

/** It becomes the name of a directory. Throws `invalidParameter`. */
export function checkSnapshotName(name: string): void {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name)) return;
  const shown = JSON.stringify(name.slice(0, 300)).slice(1, -1);
  throw isleError('invalidParameter', {
    message: `invalid snapshot name (${shown}): only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at most 128 characters`,
  });
}
