import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFilesystem, treeUsage } from '../host/tree-async.ts';
import { errnoOf, isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { shortId } from '../lib/ids.ts';
import type { Table } from '../lib/table.ts';
import { explainFull } from './disk-full.ts';
import type { CopyOptions, SavedRoot } from './snapshots.ts';
import { copyInTwo } from './early-copy.ts';
import type { StorageWorkers } from './storage-workers.ts';
import type { Trash } from './trash.ts';

/** What is known of a container's root on the disk. */
export interface SnapshotRecord {
  id: string;
  parent?: string;
  volatile?: boolean;
  /** Oldest first. */
  saved?: SavedRoot[];
}

/** Prefix of the directories of copies that are not complete, or not needed any more. No name begins like that. */
const unfinished = '.new-';

/**
 * Copies of writable directories: `snapshots/<id>/saved/<name>/upper`. They lie inside what belongs to the container, so
 * that its removal takes them along with one rename. A copy appears under its name when it is whole and on the disk; a
 * directory without a record is swept on the next start. The caller holds the container's locks.
 */
export class SavedRoots {
  readonly #root: string;
  readonly #records: Table<SnapshotRecord>;
  readonly #trash: Trash;
  readonly #workers: StorageWorkers;

  constructor(root: string, records: Table<SnapshotRecord>, trash: Trash, workers: StorageWorkers) {
    this.#root = root;
    this.#records = records;
    this.#trash = trash;
    this.#workers = workers;
  }

  /** Throws `noSuchSaved`. */
  find({ id, saved = [] }: SnapshotRecord, name: string): SavedRoot {
    const found = saved.find((one) => one.name === name);
    if (!found) throw isleError('noSuchSaved', { name, id: shortId(id) });
    return found;
  }

  /** The directory that holds what the container has now, or had then. */
  upperOf(record: SnapshotRecord, name?: string): string {
    if (name === undefined) return join(this.#root, record.id, 'upper');
    return join(this.#directory(record.id), this.find(record, name).name, 'upper');
  }

  async save(
    record: SnapshotRecord,
    name: string,
    options: CopyOptions & { comment: string },
  ): Promise<SavedRoot> {
    const { id } = record;
    if (record.saved?.some((one) => one.name === name))
      throw isleError('savedNameInUse', { name, id: shortId(id) });
    const createdAt = new Date().toISOString();
    const made = await this.#copy(id, this.upperOf(record), 'taking a snapshot', options);
    const place = join(this.#directory(id), name);
    const saved: SavedRoot = { name, createdAt, comment: options.comment, bytes: 0, inodes: 0 };
    try {
      Object.assign(saved, await treeUsage(join(made, 'upper')));
      failpoint('snapshot.save.copied');
      // Left by a crash between rename and record.
      await this.#trash.take(place);
      await rename(made, place);
      await syncDirectory(this.#directory(id));
      failpoint('snapshot.save.renamed');
      this.#put(id, (before) => [...before, saved]);
    } catch (error) {
      for (const path of [made, place]) await this.#trash.take(path);
      throw explainFull(error, this.#root, 'taking a snapshot');
    }
    failpoint('snapshot.save.after');
    return saved;
  }

  /** Puts a copy of what was saved in the place of what there is, by one exchange: before it nothing has happened, after it all has. */
  async restore(record: SnapshotRecord, name: string): Promise<void> {
    const { id } = record;
    const made = await this.#copy(id, this.upperOf(record, name), 'restoring a snapshot', {});
    try {
      failpoint('snapshot.restore.copied');
      await this.#workers.exchange(join(made, 'upper'), this.upperOf(record));
      failpoint('snapshot.restore.exchanged');
      await syncDirectory(made);
      await syncDirectory(join(this.#root, id));
    } finally {
      await this.#trash.take(made);
    }
    failpoint('snapshot.restore.after');
  }

  /** The record goes first: a directory without one is swept on the next start. */
  async remove(record: SnapshotRecord, name: string): Promise<void> {
    this.find(record, name);
    failpoint('snapshot.unsave.before');
    this.#put(record.id, (before) => before.filter((one) => one.name !== name));
    failpoint('snapshot.unsave.recorded');
    await this.#trash.take(join(this.#directory(record.id), name));
    failpoint('snapshot.unsave.after');
  }

  /** Drops directories without a record, and records whose directory is gone. */
  async recover(record: SnapshotRecord): Promise<void> {
    const directory = this.#directory(record.id);
    const names = await readdir(directory).catch((error: unknown): string[] => {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    });
    const known = new Set(record.saved?.map(({ name }) => name));
    for (const name of names) if (!known.has(name)) await this.#trash.take(join(directory, name));
    if (record.saved?.some(({ name }) => !names.includes(name)))
      this.#put(record.id, (before) => before.filter(({ name }) => names.includes(name)));
  }

  /** A directory beside the saved ones with a copy in `upper`, written to the disk; nothing when it fails. */
  async #copy(id: string, from: string, what: string, options: CopyOptions): Promise<string> {
    const made = join(this.#directory(id), `${unfinished}${randomBytes(8).toString('hex')}`);
    try {
      failpoint('snapshot.copy.before');
      await mkdir(join(made, 'upper'), { recursive: true, mode: 0o700 });
      await this.copyTo(from, join(made, 'upper'), options);
      await syncFilesystem(made);
      failpoint('snapshot.copy.after');
      return made;
    } catch (error) {
      await this.#trash.take(made);
      throw explainFull(error, this.#root, what);
    }
  }

  /** Copies into an empty directory, in a quiet moment when the caller makes one. */
  async copyTo(from: string, to: string, { quietly, busy }: CopyOptions): Promise<void> {
    if (quietly && busy) return await copyInTwo(this.#workers, from, to, quietly);
    const copy = (): Promise<void> => this.#workers.copyTree(from, to);
    await (quietly ? quietly(copy) : copy());
  }

  #directory(id: string): string {
    return join(this.#root, id, 'saved');
  }

  #put(id: string, change: (saved: SavedRoot[]) => SavedRoot[]): void {
    const record = this.#records.get(id);
    if (record) this.#records.put(id, { ...record, saved: change(record.saved ?? []) });
  }
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}
