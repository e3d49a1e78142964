import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { convert } from './convert.ts';
import { nameImage, qemuImg } from './qemu-img.ts';
import { readQcow2Header } from './qcow2-header.ts';

/**
 * Snapshots inside a qcow2 file that stands alone and is not the store's: a machine's NVRAM, a disk of the user's. Nobody
 * runs on it. All of them may be called again.
 */
export async function takeFileSnapshot(path: string, name: string): Promise<void> {
  if (!fileSnapshots(path).includes(name)) await change(path, ['-c', name]);
}

export async function revertFileSnapshot(path: string, name: string): Promise<void> {
  await change(path, ['-a', name]);
}

export async function removeFileSnapshot(path: string, name: string): Promise<void> {
  if (fileSnapshots(path).includes(name)) await change(path, ['-d', name]);
}

/** Also while a machine runs on it. What is not there, or no file, has none. */
export function fileSnapshots(path: string): string[] {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() ? readQcow2Header(path).snapshots : [];
}

/** What is in `from` now (nobody runs on it), or in a snapshot of it, as a new qcow2 file. `size`: bytes of its guest's at most. */
export async function copyImage(
  from: string,
  to: string,
  { size, snapshot }: { size: number; snapshot?: string },
): Promise<void> {
  await convert({
    from: { driver: 'qcow2', path: from, shared: snapshot !== undefined },
    to,
    format: 'qcow2',
    size,
    ...(snapshot !== undefined && { snapshot }),
    directory: dirname(to),
    what: 'copying what belongs to a machine',
  });
}

async function change(path: string, action: [string, string]): Promise<void> {
  const { argument, files } = nameImage({ driver: 'qcow2', path, write: true });
  await qemuImg(['snapshot', '-q', ...action, argument], {
    files,
    // A snapshot may keep everything that was there.
    fileSize: Number.MAX_SAFE_INTEGER,
    what: 'working on a snapshot',
    writesTo: dirname(path),
    cpu: 3600,
    patience: 3600_000,
  });
}
