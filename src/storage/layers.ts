import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFilesystem } from '../host/tree-async.ts';
import { bootId } from '../host/process.ts';
import { isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Logger } from '../lib/log.ts';
import type { Table } from '../lib/table.ts';
import { explainFull } from './disk-full.ts';
import type { Trash } from './trash.ts';

export interface LayerRecord {
  chainId: string;
  parent?: string;
  diffId: string;
  /** Unpacked bytes. */
  size: number;
  /** Of the layer's root directory: the root of a container takes after its topmost layer's. */
  root: { mode: number; uid: number; gid: number };
  /** The boot in which it was written, until it is known to be on the disk. */
  unsynced?: string;
}

/** Prefix of the directories of layers that are not complete. */
const unfinished = '.new-';

/**
 * Read-only layers: `<layers>/<chain id hex>/diff`. A new layer is used at once and written to the disk behind that: a
 * killed process loses nothing, and after a power cut (another boot) what was not known to be written is dropped, to
 * be unpacked again from its blob.
 */
export class Layers {
  readonly #path: string;
  readonly #table: Table<LayerRecord>;
  readonly #trash: Trash;
  readonly #lock = new KeyedLock();
  readonly #begun = new Map<string, { path: string; release: () => void }>();
  readonly #log: Logger;
  #sync: { running: Promise<void>; next: Promise<void> | undefined } | undefined;

  constructor(path: string, table: Table<LayerRecord>, trash: Trash, log: Logger) {
    this.#path = path;
    this.#table = table;
    this.#trash = trash;
    this.#log = log;
  }

  get(chainId: string): LayerRecord | undefined {
    return this.#table.get(chainId);
  }

  all(): LayerRecord[] {
    return this.#table.all();
  }

  /** Directories of the stack that ends in `chainId`, topmost first. Throws `internal` when a layer is missing. */
  stack(chainId: string): string[] {
    const paths: string[] = [];
    for (let next: string | undefined = chainId; next !== undefined; ) {
      const record = this.#table.get(next);
      if (record === undefined) throw isleError('missingLayer', { chainId: next });
      paths.push(join(this.#pathOf(next), 'diff'));
      next = record.parent;
    }
    return paths;
  }

  /** A second caller for one chain id waits until the first has committed or abandoned. */
  async begin(chainId: string): Promise<{ path: string; abandon(): Promise<void> }> {
    const release = await this.#lock.acquire(chainId);
    const directory = `${unfinished}${hexOf(chainId)}-${randomBytes(4).toString('hex')}`;
    const path = join(this.#path, directory);
    try {
      failpoint('layer.begin.before');
      await mkdir(join(path, 'diff'), { recursive: true, mode: 0o700 });
      failpoint('layer.begin.after');
      // mkdir masks the mode by the umask; the diff is the container's root and readable by its users.
      await chmodRoot(join(path, 'diff'));
    } catch (error) {
      await this.#trash.take(path);
      release();
      throw explainFull(error, this.#path, 'unpacking a layer');
    }
    this.#begun.set(chainId, { path, release });
    const abandon = async (): Promise<void> => {
      if (this.#begun.get(chainId)?.path !== path) return;
      this.#begun.delete(chainId);
      try {
        await this.#trash.take(path);
      } finally {
        release();
      }
    };
    return { path: join(path, 'diff'), abandon };
  }

  /** The directory that `begin` gave out. */
  begunPath(chainId: string): string {
    const begun = this.#begun.get(chainId);
    if (begun === undefined) throw isleError('internal', { message: `layer ${chainId} was not begun` });
    return join(begun.path, 'diff');
  }

  async commit(chainId: string, layer: { parent?: string; diffId: string; size: number }): Promise<void> {
    const begun = this.#begun.get(chainId);
    if (begun === undefined) throw isleError('internal', { message: `layer ${chainId} was not begun` });
    if (layer.parent !== undefined && this.#table.get(layer.parent) === undefined) {
      throw isleError('missingLayer', { chainId: layer.parent });
    }
    if (this.#table.get(chainId) === undefined) await this.#publish(chainId, layer, begun.path);
    else await this.#trash.take(begun.path);
    this.#begun.delete(chainId);
    begun.release();
  }

  async #publish(
    chainId: string,
    layer: { parent?: string; diffId: string; size: number },
    path: string,
  ): Promise<void> {
    const { mode, uid, gid } = await stat(join(path, 'diff'));
    // Left by a crash between rename and record: as complete as this one, but without a record to say so.
    await this.#trash.take(this.#pathOf(chainId));
    failpoint('layer.rename.before');
    await rename(path, this.#pathOf(chainId));
    failpoint('layer.rename.after');
    failpoint('layer.record.before');
    const root = { mode: mode & 0o7777, uid, gid };
    this.#table.put(chainId, { chainId, ...layer, root, unsynced: bootId() });
    failpoint('layer.record.after');
    void this.#settle(chainId);
  }

  /** Never rejects: a layer that cannot be written now stays marked, and the next start tries again. */
  async #settle(chainId: string): Promise<void> {
    try {
      const before = this.#table.get(chainId);
      failpoint('layer.sync.before');
      await this.#syncAll();
      failpoint('layer.sync.after');
      // One that was removed, or removed and made again meanwhile, is not the one that was written.
      if (before === undefined || this.#table.get(chainId) !== before) return;
      const { unsynced: _written, ...record } = before;
      this.#table.put(chainId, record);
    } catch (error) {
      this.#log.warn({ chainId, err: error }, 'a layer could not be written to the disk yet');
    }
  }

  /** The record goes first: a directory without one is swept on the next start. */
  async remove(chainId: string): Promise<void> {
    const release = await this.#lock.acquire(chainId);
    try {
      failpoint('layer.remove.before');
      this.#table.delete(chainId);
      failpoint('layer.remove.recorded');
      await this.#trash.take(this.#pathOf(chainId));
      failpoint('layer.remove.after');
    } finally {
      release();
    }
  }

  /** Drops what a power cut may have damaged, directories without a record, and records whose directory or parent is gone. */
  async recover(): Promise<void> {
    for (const { chainId, unsynced } of this.#table.all()) {
      if (unsynced === bootId()) void this.#settle(chainId);
      else if (unsynced !== undefined) this.#table.delete(chainId);
    }
    const found = new Set<string>();
    for (const name of await readdir(this.#path)) {
      const chainId = `sha256:${name}`;
      if (this.#table.get(chainId) === undefined) await this.#trash.take(join(this.#path, name));
      else found.add(chainId);
    }
    for (let gone = true; gone; ) {
      gone = false;
      for (const { chainId, parent } of this.#table.all()) {
        if (found.has(chainId) && (parent === undefined || this.#table.get(parent))) continue;
        this.#table.delete(chainId);
        if (found.has(chainId)) await this.#trash.take(this.#pathOf(chainId));
        gone = true;
      }
    }
  }

  #pathOf(chainId: string): string {
    return join(this.#path, hexOf(chainId));
  }

  /** One syncfs serves all layers that were complete before it began: no fsync per file. */
  #syncAll(): Promise<void> {
    const current = this.#sync;
    if (current === undefined) return this.#startSync();
    const again = (): Promise<void> => this.#startSync();
    current.next ??= current.running.then(again, again);
    return current.next;
  }

  #startSync(): Promise<void> {
    const running = syncFilesystem(this.#path);
    const state = { running, next: undefined };
    this.#sync = state;
    const clear = (): void => {
      if (this.#sync === state && state.next === undefined) this.#sync = undefined;
    };
    running.then(clear, clear);
    return running;
  }
}

async function chmodRoot(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.chmod(0o755);
}

function hexOf(chainId: string): string {
  const match = /^sha256:([0-9a-f]{64})$/.exec(chainId);
  if (!match) throw isleError('invalidParameter', { message: `invalid chain id: "${chainId}"` });
  return match[1]!;
}
