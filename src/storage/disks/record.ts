import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isleError } from '../../lib/errors.ts';
import type { DiskFormat } from '../disks.ts';

/**
 * What is known of a disk, kept as `disk.json` beside its files: a data root whose database is lost, or that was moved, keeps its
 * disks. What the files themselves say (size, snapshots, allocated bytes) is not in it: a
 * machine that runs may change that.
 */
export interface DiskRecord {
  version: 1;
  id: string;
  createdAt: string;
  /** Every file of the disk, oldest first; only `present` is written, the others are what it or clones stand on, or hold snapshots. */
  files: DiskFile[];
  /** Name of the file that the guest writes. */
  present: string;
  /** An overlay that becomes `present`: from then on a running machine may write to it. */
  next?: DiskFile;
  /** The present file's time and size when it was made as an empty overlay: while they are the same, nobody has written it. */
  untouched?: string;
  owner?: string;
  /** No machine has been seen with it over a restart yet: if none is then, its maker was interrupted. */
  fresh: boolean;
  /** `FILE:SNAPSHOT`: removed, but in a file that others stand on. */
  hidden: string[];
}

export interface DiskFile {
  name: string;
  format: DiskFormat;
  backing?: FileReference;
}

export interface FileReference {
  disk: string;
  file: string;
}

const recordName = 'disk.json';

/** Over the old one, whole or not at all, and on the disk when it returns: `directory` is the disk's. */
export function writeRecord(directory: string, record: DiskRecord): void {
  const path = join(directory, recordName);
  const file = openSync(`${path}.new`, 'w', 0o600);
  try {
    writeFileSync(file, `${JSON.stringify(record, undefined, 1)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
  syncDirectory(directory);
}

/** Throws when there is none, or none of this Isle's. */
export function readRecord(directory: string): DiskRecord {
  const record = JSON.parse(readFileSync(join(directory, recordName), 'utf8')) as DiskRecord;
  if (record.version !== 1 || !record.files?.some(({ name }) => name === record.present))
    throw isleError('internal', { message: `${directory}/${recordName} is not one that this Isle reads` });
  return record;
}

export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
