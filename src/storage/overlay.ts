import { mkdirSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import type { Readable } from 'node:stream';
import type { IdMap } from '../engine/runtime.ts';
import { overlayMount } from '../host/mount.ts';
import { spreadDirectories, syncFilesystem, treeUsage } from '../host/tree-async.ts';
import { errnoOf, isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Logger } from '../lib/log.ts';
import type { Store, Table } from '../lib/table.ts';
import { explainFull } from './disk-full.ts';
import { mountMapped } from './mapped-overlay.ts';
import { Layers, type LayerRecord } from './layers.ts';
import { SavedRoots, type SnapshotRecord } from './saved-roots.ts';
import type { CopyOptions, NewLayer, SavedRoot, Snapshots } from './snapshots.ts';
import { createStorageWorkers, type StorageWorkers } from './storage-workers.ts';
import { RootMounts } from './root-mounts.ts';
import { Trash } from './trash.ts';

export interface SnapshotsOptions {
  store: Store;
  /** Holds `layers/`, `snapshots/` and `trash/`, all 0700: a setuid file in a layer is out of reach (CVE-2025-64507). */
  dataRoot: string;
  /** Holds the mountpoints. */
  runRoot: string;
  log: Logger;
  workers?: StorageWorkers;
}

/**
 * As Docker mounts them. `index=off`: with an index a lower hard link keeps its identity, but an upper directory is bound to
 * one mount and its kernel handles, and cannot be moved to another disk. `redirect_dir=off` and `metacopy=off`: all that a
 * container changed lies in its upper directory in full, so that diff and commit need to read nothing else.
 */
const overlayOptions = ['index=off', 'redirect_dir=off', 'metacopy=off'];

export function createSnapshots(options: SnapshotsOptions): Snapshots {
  const { store, dataRoot, runRoot, log } = options;
  const paths = {
    layers: join(dataRoot, 'layers'),
    snapshots: join(dataRoot, 'snapshots'),
    trash: join(dataRoot, 'trash'),
    /** The lower directory of a root without an image: overlayfs wants one. */
    empty: join(dataRoot, 'snapshots', '.empty'),
  };
  for (const path of Object.values(paths)) mkdirSync(path, { recursive: true, mode: 0o700 });
  for (const path of [paths.layers, paths.snapshots]) spreadDirectories(path);
  const trash = new Trash(paths.trash, log);
  const layers = new Layers(paths.layers, store.table<LayerRecord>('layers'), trash, log);
  const records = store.table<SnapshotRecord>('snapshots');
  const mounts = new RootMounts(runRoot, log);
  return new OverlaySnapshots(
    paths,
    layers,
    records,
    trash,
    mounts,
    options.workers ?? createStorageWorkers(),
  );
}

type Paths = Record<'layers' | 'snapshots' | 'trash' | 'empty', string>;

class OverlaySnapshots implements Snapshots {
  readonly #paths: Paths;
  readonly #layers: Layers;
  readonly #records: Table<SnapshotRecord>;
  readonly #trash: Trash;
  readonly #workers: StorageWorkers;
  readonly #savedRoots: SavedRoots;
  readonly #lock = new KeyedLock();
  readonly #mounts: RootMounts;

  constructor(
    paths: Paths,
    layers: Layers,
    records: Table<SnapshotRecord>,
    trash: Trash,
    mounts: RootMounts,
    workers: StorageWorkers,
  ) {
    this.#mounts = mounts;
    this.#paths = paths;
    this.#layers = layers;
    this.#records = records;
    this.#trash = trash;
    this.#workers = workers;
    this.#savedRoots = new SavedRoots(paths.snapshots, records, trash, workers);
  }

  hasLayer(chainId: string): boolean {
    return this.#layers.get(chainId) !== undefined;
  }

  beginLayer(chainId: string): Promise<{ path: string; abandon(): Promise<void> }> {
    return this.#layers.begin(chainId);
  }

  async commitLayer(chainId: string, { implied, ...layer }: NewLayer): Promise<void> {
    if (implied && implied.length > 0 && layer.parent !== undefined && !this.hasLayer(chainId)) {
      await this.#workers.dressImplied(
        this.#layers.begunPath(chainId),
        this.#layers.stack(layer.parent),
        implied,
      );
    }
    await this.#layers.commit(chainId, layer);
  }

  async removeLayer(chainId: string): Promise<void> {
    const user = this.#userOf(chainId);
    if (user) throw isleError('conflict', { message: `layer ${chainId} is in use by ${user}` });
    await this.#layers.remove(chainId);
  }

  layers(): { chainId: string; parent?: string; diffId: string; size: number; used: boolean }[] {
    const used = new Set<string | undefined>();
    for (const { parent } of this.#layers.all()) used.add(parent);
    for (const { parent } of this.#records.all()) used.add(parent);
    return this.#layers.all().map(({ chainId, parent, diffId, size }) => ({
      chainId,
      parent,
      diffId,
      size,
      used: used.has(chainId),
    }));
  }

  layerSize(chainId: string): number {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) throw isleError('missingLayer', { chainId });
    return layer.size;
  }

  async prepare(id: string, parent: string | undefined, options: { volatile?: boolean } = {}): Promise<void> {
    const root = parent === undefined ? undefined : this.#layers.get(parent)?.root;
    if (parent !== undefined && root === undefined) throw isleError('missingLayer', { chainId: parent });
    await this.#make({ id, parent, volatile: options.volatile }, (path) => makeDirectories(path, root));
  }

  async cloneFrom(
    source: { id: string; saved?: string },
    id: string,
    options: CopyOptions & { volatile?: boolean } = {},
  ): Promise<void> {
    using _lock = await this.#hold(savedLock(source.id));
    const from = this.#record(source.id);
    const upper = this.#savedRoots.upperOf(from, source.saved);
    await this.#make({ id, parent: from.parent, volatile: options.volatile }, async (path) => {
      await makeDirectories(path, undefined);
      failpoint('snapshot.clone.before');
      await this.#savedRoots.copyTo(upper, join(path, 'upper'), options);
      await this.#workers.renewIdentity(join(path, 'upper'));
      failpoint('snapshot.clone.copied');
      await syncFilesystem(path);
    });
  }

  saved(id: string): SavedRoot[] {
    return this.#record(id).saved ?? [];
  }

  async save(id: string, name: string, options: CopyOptions & { comment?: string } = {}): Promise<SavedRoot> {
    checkId(name);
    using _lock = await this.#hold(savedLock(id));
    return await this.#savedRoots.save(this.#record(id), name, { comment: '', ...options });
  }

  async restore(id: string, name: string): Promise<void> {
    using _saved = await this.#hold(savedLock(id));
    using _mounting = await this.#hold(id);
    if (this.#mounts.get(id) !== undefined)
      throw isleError('conflict', { message: `the root file system of ${id} is in use` });
    await this.#savedRoots.restore(this.#record(id), name);
  }

  async removeSaved(id: string, name: string): Promise<void> {
    using _lock = await this.#hold(savedLock(id));
    await this.#savedRoots.remove(this.#record(id), name);
  }

  /** A container's directory with its record, or nothing. */
  async #make(record: SnapshotRecord, fill: (path: string) => Promise<void>): Promise<void> {
    const { id } = record;
    const path = this.#pathOf(id);
    try {
      failpoint('snapshot.prepare.before');
      await mkdir(path, { mode: 0o700 });
    } catch (error) {
      if (errnoOf(error) === 'EEXIST')
        throw isleError('conflict', { message: `container ${id} has a root already` }, error);
      throw explainFull(error, this.#paths.snapshots, 'creating a container');
    }
    try {
      await fill(path);
      failpoint('snapshot.prepare.made');
      this.#records.put(id, record);
    } catch (error) {
      await this.#trash.take(path);
      throw explainFull(error, this.#paths.snapshots, 'creating a container');
    }
    failpoint('snapshot.prepare.after');
  }

  async mount(id: string, { idMap }: { idMap?: IdMap } = {}): Promise<string> {
    const there = this.#mounts.find(id, idMap);
    if (there !== undefined) return there;
    const release = await this.#lock.acquire(id);
    try {
      const meanwhile = this.#mounts.find(id, idMap);
      if (meanwhile !== undefined) return meanwhile;
      const other = this.#mounts.get(id);
      if (other !== undefined && other.idMap !== undefined)
        throw isleError('conflict', { message: `the root of ${id} is in use in a user namespace` });
      // To fill volumes from it: before its container has run.
      await this.#mounts.remove(id);
      return await this.#mountAt(id, idMap);
    } finally {
      release();
    }
  }

  async unmount(id: string): Promise<void> {
    const release = await this.#lock.acquire(id);
    try {
      await this.#mounts.remove(id);
    } finally {
      release();
    }
  }

  async remove(id: string): Promise<void> {
    checkId(id);
    using _saved = await this.#hold(savedLock(id));
    using _mounting = await this.#hold(id);
    await this.#mounts.remove(id);
    failpoint('snapshot.remove.before');
    await this.#trash.take(this.#pathOf(id));
    failpoint('snapshot.remove.moved');
    this.#records.delete(id);
    failpoint('snapshot.remove.after');
  }

  async changes(id: string): Promise<{ path: string; kind: 0 | 1 | 2 }[]> {
    return this.#workers.changes(this.#upperOf(id), this.#lowersOf(id));
  }

  async layerTar(id: string): Promise<Readable> {
    return this.#workers.layerTar(this.#upperOf(id), this.#lowersOf(id));
  }

  usage(id: string): Promise<{ bytes: number; inodes: number }> {
    return treeUsage(this.#upperOf(id));
  }

  settled(): Promise<void> {
    return this.#trash.emptied();
  }

  async recover(known: ReadonlySet<string>): Promise<void> {
    await this.#trash.sweep();
    await this.#layers.recover();
    await this.#mounts.recover(known);
    const found = new Set(await readdir(this.#paths.snapshots));
    found.delete('.empty');
    for (const id of found) {
      if (!known.has(id) || this.#records.get(id) === undefined)
        await this.#trash.take(join(this.#paths.snapshots, id));
    }
    for (const record of this.#records.all()) {
      if (!known.has(record.id) || !found.has(record.id)) this.#records.delete(record.id);
      else await this.#savedRoots.recover(record);
    }
  }

  async #mountAt(id: string, idMap: IdMap | undefined): Promise<string> {
    const record = this.#record(id);
    const path = this.#pathOf(id);
    failpoint('snapshot.mount.before');
    // An earlier volatile mount leaves a mark that forbids the next, lest somebody trust the content after a power cut.
    if (record.volatile) await rm(join(path, 'work', 'work', 'incompat'), { recursive: true, force: true });
    const options = record.volatile ? [...overlayOptions, 'volatile'] : overlayOptions;
    return await this.#mounts.add(id, idMap, async (target) => {
      if (idMap) {
        const [layers, lowers] = this.#relativeLowersOf(record);
        return await mountMapped(target, idMap, { layers, lowers, writable: path, options });
      }
      const [upper, work] = [join(path, 'upper'), join(path, 'work')];
      await overlayMount(target, { lowers: this.#lowersOf(id), upper, work, options });
    });
  }

  async #hold(key: string): Promise<Disposable> {
    const release = await this.#lock.acquire(key);
    return { [Symbol.dispose]: release };
  }

  #record(id: string): SnapshotRecord {
    const record = this.#records.get(id);
    if (record === undefined) throw isleError('noSuchSnapshot', { id });
    return record;
  }

  #lowersOf(id: string): string[] {
    const { parent } = this.#record(id);
    return parent === undefined ? [this.#paths.empty] : this.#layers.stack(parent);
  }

  /** A directory, and the lower layers below it. */
  #relativeLowersOf({ parent }: SnapshotRecord): [string, string[]] {
    const { empty, layers } = this.#paths;
    if (parent === undefined) return [dirname(empty), [basename(empty)]];
    return [layers, this.#layers.stack(parent).map((path) => relative(layers, path))];
  }

  #upperOf(id: string): string {
    return join(this.#paths.snapshots, this.#record(id).id, 'upper');
  }

  #pathOf(id: string): string {
    checkId(id);
    return join(this.#paths.snapshots, id);
  }

  #userOf(chainId: string): string | undefined {
    const above = this.#layers.all().find(({ parent }) => parent === chainId);
    if (above) return `layer ${above.chainId}`;
    const snapshot = this.#records.all().find(({ parent }) => parent === chainId);
    return snapshot && `container ${snapshot.id}`;
  }
}

async function makeDirectories(path: string, root: LayerRecord['root'] | undefined): Promise<void> {
  const upper = join(path, 'upper');
  await Promise.all([
    mkdir(join(path, 'work'), { mode: 0o700 }),
    mkdir(upper, { mode: 0o755 }).then(() => dressRoot(upper, root)),
  ]);
}

/** The root of a container has the owner and mode of its image's, which overlayfs takes from the upper directory. */
async function dressRoot(path: string, root: LayerRecord['root'] | undefined): Promise<void> {
  const { mode, uid, gid } = root ?? { mode: 0o755, uid: 0, gid: 0 };
  if (uid !== 0 || gid !== 0) await chown(path, uid, gid);
  await chmod(path, mode);
}

/** Taken before the container's own: a copy may take long, and mounting must not wait for it. */
function savedLock(id: string): string {
  return `saved:${id}`;
}

function checkId(id: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(id)) {
    throw isleError('invalidParameter', { message: `invalid snapshot id: "${id}"` });
  }
}
