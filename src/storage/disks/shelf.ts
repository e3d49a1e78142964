import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isleError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { Logger } from '../../lib/log.ts';
import { Rollback } from '../../lib/rollback.ts';
import { explainFull } from '../disk-full.ts';
import { checkDiskId } from './names.ts';
import { readQcow2Header } from './qcow2-header.ts';
import type { ImageNode } from './qemu-img.ts';
import { type DiskFile, type DiskRecord, readRecord, syncDirectory, writeRecord } from './record.ts';

const makingPrefix = '.new-';
const goingPrefix = '.gone-';

/**
 * The directory of all disks, and what is known of each. A disk is made beside the others and renamed into place when it is
 * whole; it goes the other way round. So what a crash leaves has a name that says so.
 */
export class Shelf {
  readonly root: string;
  readonly #records = new Map<string, DiskRecord>();
  readonly #making = new Set<string>();
  readonly #log: Logger;

  constructor(dataRoot: string, log: Logger) {
    this.root = join(dataRoot, 'disks');
    this.#log = log;
    mkdirSync(this.root, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.root)) {
      if (name.startsWith('.')) continue;
      try {
        this.#records.set(name, readRecord(join(this.root, name)));
      } catch (error) {
        log.error({ err: error }, `disk ${name} cannot be used: ${messageOf(error)}; it is left as it is`);
      }
    }
  }

  get(id: string): DiskRecord {
    const record = this.#records.get(id);
    if (record === undefined) throw isleError('noSuchDisk', { id });
    return record;
  }

  all(): DiskRecord[] {
    return [...this.#records.values()];
  }

  directory(id: string): string {
    return join(this.root, checkDiskId(id));
  }

  pathOf({ disk, file }: { disk: string; file: string }): string {
    return join(this.directory(disk), file);
  }

  fileOf(record: DiskRecord, name: string): DiskFile {
    const file = record.files.find((one) => one.name === name);
    if (file === undefined) throw isleError('internal', { message: `disk ${record.id} has no file ${name}` });
    return file;
  }

  /** Bytes that the guest sees, as the file says. */
  sizeOf(id: string): number {
    const record = this.get(id);
    const { name, format } = this.fileOf(record, record.present);
    const path = this.pathOf({ disk: id, file: name });
    return format === 'raw' ? statSync(path).size : readQcow2Header(path).size;
  }

  /** A file and what it stands on, nearest first. */
  *chain(id: string, name: string): Generator<{ disk: string; file: DiskFile }> {
    for (let at = { disk: id, file: name }; ; ) {
      const file = this.fileOf(this.get(at.disk), at.file);
      yield { disk: at.disk, file };
      if (file.backing === undefined) return;
      at = file.backing;
    }
  }

  /** For qemu-img; `write`: the first of them. */
  node(id: string, name: string, write = false): ImageNode {
    const nodes = [...this.chain(id, name)].map(({ disk, file }): ImageNode => {
      return { driver: file.format, path: this.pathOf({ disk, file: file.name }) };
    });
    const [first, ...below] = nodes as [ImageNode, ...ImageNode[]];
    let upper = first;
    first.write = write;
    for (const next of below) {
      upper.backing = next;
      upper = next;
    }
    return first;
  }

  /** Of other disks, and of this one, whose files stand on that one. */
  standingOn(id: string, name?: string): { disk: string; file: string }[] {
    return this.all().flatMap((record) =>
      [...record.files, ...(record.next ? [record.next] : [])]
        .filter(({ backing }) => backing?.disk === id && (name === undefined || backing.file === name))
        .map((file) => ({ disk: record.id, file: file.name })),
    );
  }

  /** Writes what has changed; in memory it changes when that is on the disk. */
  change(id: string, change: (record: DiskRecord) => Partial<DiskRecord>): DiskRecord {
    const before = this.get(id);
    const after = { ...before, ...change(before) };
    try {
      writeRecord(this.directory(id), after);
    } catch (error) {
      throw explainFull(error, this.root, 'writing down a change of a disk');
    }
    this.#records.set(id, after);
    return after;
  }

  /** `fill` makes the files in a directory and says what they are; all or nothing. */
  async add(
    id: string,
    fill: (
      directory: string,
    ) => Promise<Omit<DiskRecord, 'version' | 'id' | 'createdAt' | 'hidden' | 'fresh'>>,
  ): Promise<DiskRecord> {
    const target = this.directory(id);
    if (this.#records.has(id) || this.#making.has(id))
      throw isleError('conflict', { message: `there is a disk ${id} already` });
    this.#making.add(id);
    const directory = join(this.root, `${makingPrefix}${id}`);
    try {
      await using undo = new Rollback();
      failpoint('disk.make.before');
      await rm(directory, { recursive: true, force: true });
      undo.add('files', () => rm(directory, { recursive: true, force: true }));
      await mkdir(directory, { mode: 0o700 });
      const made = await fill(directory);
      const record: DiskRecord = {
        version: 1,
        id,
        createdAt: new Date().toISOString(),
        hidden: [],
        fresh: true,
        ...made,
      };
      writeRecord(directory, record);
      failpoint('disk.publish.before');
      await rename(directory, target);
      syncDirectory(this.root);
      undo.keep();
      this.#records.set(id, record);
      failpoint('disk.publish.after');
      return record;
    } catch (error) {
      throw explainFull(error, this.root, `making disk ${id}`);
    } finally {
      this.#making.delete(id);
    }
  }

  /**
   * The overlay made last is the disk's file from now on. What is written down already has the same meaning for whoever starts
   * after a crash, so that a full disk does not keep it from being so.
   */
  adoptNext(id: string): DiskFile {
    const record = this.get(id);
    const { next } = record;
    if (next === undefined) throw isleError('internal', { message: `disk ${id} has no overlay waiting` });
    const adopted = (one: DiskRecord): Partial<DiskRecord> => ({
      files: [...one.files, next],
      present: next.name,
      next: undefined,
      untouched: undefined,
    });
    try {
      this.change(id, adopted);
    } catch (error) {
      this.#log.warn({ err: error, disk: id }, 'the overlay in use could not be written down');
      this.#records.set(id, { ...record, ...adopted(record) });
    }
    return next;
  }

  /** Deletes a file of the disk that is not its present one; also one that was not written down yet. */
  async forgetFile(id: string, name: string): Promise<void> {
    const { files, next } = this.get(id);
    if (next?.name === name || files.some((file) => file.name === name))
      this.change(id, (record) => ({
        files: files.filter((file) => file.name !== name),
        hidden: record.hidden.filter((one) => !one.startsWith(`${name}:`)),
        ...(next?.name === name && { next: undefined }),
      }));
    failpoint('disk.forget.after');
    await rm(this.pathOf({ disk: id, file: name }), { force: true });
  }

  async drop(id: string): Promise<void> {
    const gone = join(this.root, `${goingPrefix}${id}`);
    await rm(gone, { recursive: true, force: true });
    failpoint('disk.remove.before');
    // In one step: whoever lists the disks reads the files of those that are there.
    renameSync(this.directory(id), gone);
    this.#records.delete(id);
    failpoint('disk.remove.after');
    await rm(gone, { recursive: true, force: true });
  }

  /** Deletes what was half made or half removed, and files that no record names. */
  sweep(): void {
    for (const name of readdirSync(this.root)) {
      if (name.startsWith(makingPrefix) || name.startsWith(goingPrefix))
        rmSync(join(this.root, name), { recursive: true, force: true });
    }
    for (const record of this.all()) this.#sweepFiles(record);
  }

  #sweepFiles(record: DiskRecord): void {
    const kept = new Set([...record.files.map(({ name }) => name), 'disk.json']);
    for (const name of readdirSync(this.directory(record.id))) {
      if (kept.has(name)) continue;
      this.#log.warn({ disk: record.id, file: name }, 'deleting a file that was left half made');
      rmSync(join(this.directory(record.id), name), { recursive: true, force: true });
    }
  }
}
