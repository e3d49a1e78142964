import { isleError } from '../../lib/errors.ts';

/** The largest virtual disk: bytes. Larger ones are not what a user means, but what wears a host out. */
export const maxDiskSize = 64 * 1024 ** 4;

const pattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** Throws `invalidName` for what must not become a directory's name. */
export function checkDiskId(id: string): string {
  if (!pattern.test(id))
    throw isleError('invalidName', { kind: 'disk', name: JSON.stringify(id).slice(1, 80) });
  return id;
}

/** Throws `invalidParameter` for what is no size of a disk; rounds up to whole sectors. */
export function checkDiskSize(size: number): number {
  if (!Number.isSafeInteger(size) || size < 1 || size > maxDiskSize)
    throw isleError('invalidParameter', {
      message: `a disk of ${size} bytes: it has to be between 1 byte and ${maxDiskSize / 1024 ** 4} TiB`,
    });
  return Math.ceil(size / 512) * 512;
}

/** Throws `invalidParameter` for what QEMU or a list would take for something else. */
export function checkSnapshotName(name: string): string {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_. -]{0,127}$/.test(name) || /^\d+$/.test(name))
    throw isleError('invalidParameter', {
      message: `a snapshot cannot be called ${JSON.stringify(name)}: letters, digits, "_", ".", "-", beginning with a letter or digit, and not digits only`,
    });
  return name;
}
