import { stat } from 'node:fs/promises';
import { isleError } from '../../lib/errors.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import type { Logger } from '../../lib/log.ts';
import type {
  Disk,
  DiskFormat,
  Disks,
  ExportOptions,
  ImportOptions,
  LinkedClone,
  PivotDisks,
} from '../disks.ts';
import { cloneFull, cloneLinked } from './clone.ts';
import { createDisk } from './create.ts';
import { exportDisk } from './export.ts';
import { importDisk } from './import.ts';
import { snapshotsOf } from './own-files.ts';
import type { DiskRecord } from './record.ts';
import { recoverDisks } from './recover.ts';
import { resizeDisk } from './resize.ts';
import { Shelf } from './shelf.ts';
import { removeSnapshot, revertSnapshot, takeSnapshot } from './snapshots.ts';

/** Disks of virtual machines below `<dataRoot>/disks`. */
export function createDisks(options: { dataRoot: string; log: Logger }): Disks {
  return new DiskService(new Shelf(options.dataRoot, options.log), options.log);
}

class DiskService implements Disks {
  readonly #shelf: Shelf;
  readonly #log: Logger;
  readonly #lock = new KeyedLock();

  constructor(shelf: Shelf, log: Logger) {
    this.#shelf = shelf;
    this.#log = log;
  }

  async create(
    id: string,
    options: { size: number; format: DiskFormat; preallocate?: boolean },
  ): Promise<Disk> {
    return this.#face(await createDisk(this.#shelf, id, options));
  }

  async import(id: string, options: ImportOptions): Promise<Disk> {
    return this.#face(await importDisk(this.#shelf, id, options));
  }

  async clone(
    id: string,
    source: string,
    { linked, snapshot }: { linked: boolean; snapshot?: string },
  ): Promise<Disk> {
    if (linked && snapshot !== undefined)
      throw isleError('invalidParameter', {
        message: 'a clone of a snapshot is a full one, not a linked one',
      });
    if (linked) return (await this.cloneLinked([{ id, source }]))[0] as Disk;
    return this.#alone([source], async () => this.#face(await cloneFull(this.#shelf, id, source, snapshot)));
  }

  cloneLinked(clones: readonly LinkedClone[], pivot?: PivotDisks): Promise<Disk[]> {
    return this.#alone(
      clones.map(({ source }) => source),
      async () => (await cloneLinked(this.#shelf, clones, pivot)).map((record) => this.#face(record)),
    );
  }

  get(id: string): Disk {
    return this.#face(this.#shelf.get(id));
  }

  list(): Disk[] {
    return this.#shelf
      .all()
      .map((record) => this.#face(record))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async usage(id: string): Promise<{ virtual: number; allocated: number }> {
    const { files } = this.#shelf.get(id);
    const found = await Promise.all(
      files.map(({ name }) => stat(this.#shelf.pathOf({ disk: id, file: name }))),
    );
    return {
      virtual: this.#shelf.sizeOf(id),
      allocated: found.reduce((sum, { blocks }) => sum + blocks * 512, 0),
    };
  }

  resize(id: string, size: number, options: { shrink?: boolean } = {}): Promise<void> {
    return this.#alone([id], () => resizeDisk(this.#shelf, id, size, options.shrink === true));
  }

  takeSnapshot(id: string, name: string): Promise<void> {
    return this.#alone([id], () => takeSnapshot(this.#shelf, id, name));
  }

  revertSnapshot(id: string, name: string): Promise<void> {
    return this.#alone([id], () => revertSnapshot(this.#shelf, id, name));
  }

  removeSnapshot(id: string, name: string): Promise<void> {
    return this.#alone([id], () => removeSnapshot(this.#shelf, id, name));
  }

  export(id: string, target: string, options: ExportOptions): Promise<void> {
    return this.#alone([id], () => exportDisk(this.#shelf, id, target, options));
  }

  recover(known: ReadonlySet<string>): Promise<void> {
    return recoverDisks(this.#shelf, known, this.#log);
  }

  files(id: string): { path: string; chain: string[] } {
    const { present } = this.#shelf.get(id);
    const paths = [...this.#shelf.chain(id, present)].map(({ disk, file }) =>
      this.#shelf.pathOf({ disk, file: file.name }),
    );
    return { path: paths[0] as string, chain: paths.slice(1) };
  }

  remove(id: string): Promise<void> {
    return this.#alone([id], async () => {
      const { owner } = this.#shelf.get(id);
      if (owner !== undefined)
        throw isleError('conflict', {
          message: `disk ${id} belongs to the machine ${owner}: detach it there first`,
        });
      const clones = [...new Set(this.#shelf.standingOn(id).map(({ disk }) => disk))].filter(
        (one) => one !== id,
      );
      if (clones.length > 0)
        throw isleError('conflict', {
          message: `disk ${id} cannot be removed: ${clones.join(', ')} ${clones.length > 1 ? 'stand' : 'stands'} on it`,
        });
      await this.#shelf.drop(id);
    });
  }

  claim(id: string, owner: string): void {
    const record = this.#shelf.get(id);
    if (record.owner === owner) {
      if (record.fresh) this.#shelf.change(id, () => ({ fresh: false }));
      return;
    }
    if (record.owner !== undefined)
      throw isleError('conflict', { message: `disk ${id} is in use by the machine ${record.owner}` });
    this.#shelf.change(id, () => ({ owner }));
  }

  release(id: string, owner: string): void {
    if (this.#shelf.get(id).owner !== owner) return;
    this.#shelf.change(id, () => ({ owner: undefined, fresh: false }));
  }

  /** One change of a disk at a time. */
  async #alone<T>(ids: readonly string[], change: () => Promise<T>): Promise<T> {
    const releases: (() => void)[] = [];
    try {
      // Always in one order, so that two who want the same disks never wait for each other.
      for (const id of [...new Set(ids)].sort()) releases.push(await this.#lock.acquire(id));
      return await change();
    } finally {
      for (const release of releases) release();
    }
  }

  #face(record: DiskRecord): Disk {
    const { id, createdAt, owner } = record;
    const base = [...this.#shelf.chain(id, record.present)].find(({ disk }) => disk !== id)?.disk;
    return {
      id,
      format: this.#shelf.fileOf(record, record.present).format,
      size: this.#shelf.sizeOf(id),
      createdAt,
      snapshots: snapshotsOf(this.#shelf, record),
      ...(base !== undefined && { base }),
      ...(owner !== undefined && { owner }),
    };
  }
}
