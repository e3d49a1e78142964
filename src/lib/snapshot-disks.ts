import { isleError } from './errors.ts';

/** What of a machine's disk decides whether it can be in a snapshot. */
export interface SnapshotDisk {
  target: string;
  path?: string;
  format: 'qcow2' | 'raw';
  readOnly: boolean;
}

/**
 * The disks that a snapshot of a machine consists of: those it writes. Throws `conflict` for a disk whose format keeps no
 * snapshots, and for a machine without any that does. Said alike whether it runs or not.
 */
export function snapshotDisks<T extends SnapshotDisk>(disks: readonly T[]): T[] {
  const written = disks.filter(({ readOnly }) => !readOnly);
  const raw = written.filter(({ format }) => format === 'raw');
  if (raw.length > 0)
    throw isleError('conflict', {
      message: `${raw.map(named).join(', ')} cannot be in a snapshot: raw disks have none; attach it read-only, detach it for as long, or import it into a qcow2 disk of Isle's`,
    });
  if (written.length === 0)
    throw isleError('conflict', {
      message: 'the machine has no disk that it writes: there is nothing to keep a snapshot in',
    });
  return written;
}

function named({ target, path }: SnapshotDisk): string {
  return path === undefined ? `disk ${target}` : `disk ${target} (${path})`;
}
