import { isleError } from '../../lib/errors.ts';
import type { DiskFile, DiskRecord } from './record.ts';
import type { Shelf } from './shelf.ts';
import { readQcow2Header } from './qcow2-header.ts';

/** Never one that was in use before: a machine that runs may know that. */
export function nextFileName({ files, next }: DiskRecord): string {
  const numbers = [...files, ...(next ? [next] : [])].map(({ name }) =>
    Number(/-(\d+)\./.exec(name)?.[1] ?? 0),
  );
  return `disk-${Math.max(0, ...numbers) + 1}.qcow2`;
}

/** As they are written down in {@link DiskRecord.hidden}. */
export function hiddenName(file: string, snapshot: string): string {
  return `${file}:${snapshot}`;
}

/** Names of the snapshots in one of the disk's own files. */
export function snapshotsIn(shelf: Shelf, record: DiskRecord, { name, format }: DiskFile): string[] {
  if (format !== 'qcow2') return [];
  return readQcow2Header(shelf.pathOf({ disk: record.id, file: name })).snapshots.filter(
    (snapshot) => !record.hidden.includes(hiddenName(name, snapshot)),
  );
}

/** Of all its files, those that clones stand on included. */
export function snapshotsOf(shelf: Shelf, record: DiskRecord): string[] {
  return [...new Set(record.files.flatMap((file) => snapshotsIn(shelf, record, file)))];
}

/** The file of the disk that holds a snapshot: the present one if it does, else the newest. Throws `noSuchDiskSnapshot`. */
export function ownFileWith(shelf: Shelf, record: DiskRecord, snapshot: string): DiskFile {
  const present = shelf.fileOf(record, record.present);
  const found = [present, ...record.files.toReversed()].find((file) =>
    snapshotsIn(shelf, record, file).includes(snapshot),
  );
  if (found === undefined) throw isleError('noSuchDiskSnapshot', { id: record.id, name: snapshot });
  return found;
}

/** Deletes the files that nothing is kept in: not the present one, nothing stands on it, no snapshot that is not elsewhere too. */
export async function tidyFiles(shelf: Shelf, id: string): Promise<void> {
  for (;;) {
    const record = shelf.get(id);
    const idle = record.files.find((file) => {
      if (file.name === record.present || shelf.standingOn(id, file.name).length > 0) return false;
      const others = record.files.filter((other) => other !== file);
      const elsewhere = new Set(others.flatMap((other) => snapshotsIn(shelf, record, other)));
      return snapshotsIn(shelf, record, file).every((name) => elsewhere.has(name));
    });
    if (idle === undefined) return;
    await shelf.forgetFile(id, idle.name);
  }
}
