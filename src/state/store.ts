import { chmodSync, renameSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { backup, DatabaseSync, type StatementSync } from 'node:sqlite';
import { isleError, messageOf } from '../lib/errors.ts';
import type { Store, Table } from '../lib/table.ts';
import { applicationId, type Migration, migrations } from './schema.ts';
import { salvage } from './salvage.ts';

export interface DatabaseStore extends Store {
  /** Where the damaged file lies now, when this open had to set one aside. What was readable has been kept. */
  readonly setAside: { path: string; reason: string; documents: number } | undefined;
  /** Writes a copy beside the database when it has changed since the last: for the day nothing of it can be read. */
  backup(): Promise<void>;
  close(): void;
}

/**
 * Opens (or makes) the engine's database. Every table is read once and then answered from memory; a write that
 * returned is in the write-ahead log and survives `kill -9` of this process (`synchronous=NORMAL`: a power cut may
 * take the last moments, never the consistency).
 *
 * An older schema is upgraded in one transaction. Throws `newerDatabase` when the file was written by a later Isle.
 * A damaged file is renamed to `<path>.damaged-<time>`, and every document that can still be read is copied over;
 * when none can, those of the last backup are.
 */
export function openStore(path: string, steps: readonly Migration[] = migrations): DatabaseStore {
  try {
    return new SqliteStore(path, openChecked(path, steps), undefined);
  } catch (error) {
    if (!isDamage(error)) throw error;
    const aside = `${path}.damaged-${new Date().toISOString().replace(/[:.]/g, '-')}`;
    for (const suffix of ['', '-wal', '-shm']) moveIfThere(path + suffix, aside + suffix);
    const database = openChecked(path, steps);
    const documents = salvage(aside, database) || salvage(backupOf(path), database);
    return new SqliteStore(path, database, { path: aside, reason: messageOf(error), documents });
  }
}

function openChecked(path: string, steps: readonly Migration[]): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5000 });
  try {
    // Environments hold secrets, and a data root that was there before may be open to all. The log gets the same mode.
    chmodSync(path, 0o600);
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      PRAGMA cache_size = -1024;
      PRAGMA wal_autocheckpoint = 400;
    `);
    const check = database.prepare('PRAGMA quick_check(1)').get() as { quick_check: string };
    if (check.quick_check !== 'ok') throw new Damage(check.quick_check);
    migrate(database, path, steps);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Bytes kept free inside the database and its log, so that a full disk does not keep the engine from removing things. */
const reserved = 2 * 1024 * 1024;

/**
 * Makes the files as large as they will be in use. The log's room is used again and again (it never holds more than
 * `wal_autocheckpoint` pages), and the database grows into its own free pages.
 */
function reserve(database: DatabaseSync): void {
  database.exec('CREATE TABLE IF NOT EXISTS reserve (room BLOB)');
  database.exec(`INSERT INTO reserve VALUES (randomblob(${reserved})); DELETE FROM reserve`);
}

/** Milliseconds without a write. */
const quiet = 500;

const SQLITE_FULL = 13;

function isFull(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_FULL;
}

function migrate(database: DatabaseSync, path: string, steps: readonly Migration[]): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  if (version > steps.length) throw isleError('newerDatabase', { path, version, known: steps.length });
  if (version === steps.length) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    for (const step of steps.slice(version)) step(database);
    database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${steps.length}; COMMIT`);
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}

function backupOf(path: string): string {
  return `${path}.backup`;
}

class Damage extends Error {}

/** SQLITE_CORRUPT (11) and SQLITE_NOTADB (26), with their extended codes. */
function isDamage(error: unknown): boolean {
  if (error instanceof Damage) return true;
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return false;
  return [11, 26].includes(error.errcode & 0xff);
}

function moveIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}

class SqliteStore implements DatabaseStore {
  readonly #path: string;
  readonly setAside: DatabaseStore['setAside'];
  #database: DatabaseSync;
  #put: StatementSync;
  #delete: StatementSync;
  #tables = new Map<string, Map<string, unknown>>();
  #depth = 0;
  #touched = new Set<string>();
  /** Counts writes; what the last backup holds. */
  #writes = 1;
  #backedUp = 0;
  #backups: Promise<void> = Promise.resolve();
  #checkpoint: NodeJS.Timeout | undefined;
  #reserved = false;

  constructor(path: string, database: DatabaseSync, setAside: DatabaseStore['setAside']) {
    this.#path = path;
    this.#database = database;
    this.setAside = setAside;
    this.#put = database.prepare(
      `INSERT INTO documents (collection, key, value) VALUES (?, ?, ?)
       ON CONFLICT (collection, key) DO UPDATE SET value = excluded.value`,
    );
    this.#delete = database.prepare('DELETE FROM documents WHERE collection = ? AND key = ?');
    this.#awaitQuiet();
  }

  table<T>(name: string): Table<T> {
    const rows = this.#rows(name) as Map<string, T>;
    return {
      get: (key) => rows.get(key),
      put: (key, value) => {
        this.#touch(name);
        this.#write(() => this.#put.run(name, key, JSON.stringify(value)));
        rows.set(key, value);
      },
      delete: (key) => {
        if (!rows.has(key)) return;
        this.#touch(name);
        this.#write(() => this.#delete.run(name, key));
        rows.delete(key);
      },
      all: () => [...rows.values()],
    };
  }

  transaction<R>(change: () => R): R {
    if (this.#depth > 0) return change();
    this.#database.exec('BEGIN IMMEDIATE');
    this.#depth++;
    try {
      const result = change();
      this.#write(() => this.#database.exec('COMMIT'));
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      for (const name of this.#touched) this.#load(name);
      throw error;
    } finally {
      this.#depth--;
      this.#touched.clear();
    }
  }

  /** One after another: two would write the same draft. */
  backup(): Promise<void> {
    const done = this.#backups.then(() => this.#backUp());
    this.#backups = done.catch(() => {});
    return done;
  }

  async #backUp(): Promise<void> {
    const writes = this.#writes;
    if (writes === this.#backedUp) return;
    const path = backupOf(this.#path);
    await writeFile(`${path}.new`, '', { mode: 0o600 });
    await backup(this.#database, `${path}.new`);
    await rename(`${path}.new`, path);
    this.#backedUp = writes;
  }

  close(): void {
    clearTimeout(this.#checkpoint);
    this.#database.close();
  }

  /** Moves the log into the database while nobody waits: its fsyncs would else fall into some call. */
  #awaitQuiet(): void {
    const writes = this.#writes;
    const look = () => {
      if (this.#writes !== writes) return this.#awaitQuiet();
      this.#checkpoint = undefined;
      try {
        if (!this.#reserved) reserve(this.#database);
        this.#reserved = true;
        this.#database.exec('PRAGMA wal_checkpoint(PASSIVE)');
      } catch (error) {
        // The log keeps it until there is room, and what room there is has to do until then.
        if (!isFull(error)) throw error;
      }
    };
    this.#checkpoint = setTimeout(look, quiet).unref();
  }

  /** Throws `diskFull`. */
  #write(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!isFull(error)) throw error;
      throw isleError('diskFull', { path: this.#path, what: 'recording a change' }, error);
    }
  }

  #touch(name: string): void {
    this.#writes++;
    if (this.#checkpoint === undefined) this.#awaitQuiet();
    if (this.#depth > 0) this.#touched.add(name);
  }

  #rows(name: string): Map<string, unknown> {
    return this.#tables.get(name) ?? this.#load(name);
  }

  /** Fills the (kept) map of a table from the database, in the order of first puts. */
  #load(name: string): Map<string, unknown> {
    const rows = this.#tables.get(name) ?? new Map<string, unknown>();
    rows.clear();
    const select = this.#database.prepare(
      'SELECT key, value FROM documents WHERE collection = ? ORDER BY position',
    );
    for (const row of select.iterate(name)) rows.set(String(row.key), JSON.parse(String(row.value)));
    this.#tables.set(name, rows);
    return rows;
  }
}
