import { chmod, mkdir, readdir } from 'node:fs/promises';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mountTable, unmount } from '../host/mount.ts';
import { spreadDirectories, treeUsage } from '../host/tree-async.ts';
import { isIsleError, isleError, messageOf } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Logger } from '../lib/log.ts';
import { explainFull } from './disk-full.ts';
import type { StorageWorkers } from './storage-workers.ts';
import { Trash } from './trash.ts';
import { mountVolume, parseVolumeOptions } from './volume-options.ts';

/** Directories of volumes: `<dataRoot>/volumes/<name>/_data`. */
export interface VolumeFiles {
  path(name: string): string;
  /** Makes the directory; with `options` (type, o, device) checks them. Throws `invalidParameter`. */
  create(name: string, options?: Record<string, string>): Promise<string>;
  /** Mounts what the options of a volume name on its directory, once; without options there is nothing to do. */
  mount(name: string, options: Record<string, string>): Promise<void>;
  unmount(name: string): Promise<void>;
  /** Idempotent; deleting the files goes on in the background. */
  remove(name: string): Promise<void>;
  /** Copies what lies at `target` in a mounted root into the volume when that is empty, owner and mode of the directory too. */
  fill(name: string, rootfs: string, target: string): Promise<void>;
  /** Bytes on disk. */
  usage(name: string): Promise<number>;
  /** Names of all volumes that have a directory. */
  list(): Promise<string[]>;
  /** Sweeps what a crash left of removed volumes. */
  recover(): Promise<void>;
}

export interface VolumeFilesOptions {
  dataRoot: string;
  workers: StorageWorkers;
  log: Logger;
}

export function createVolumeFiles({ dataRoot, workers, log }: VolumeFilesOptions): VolumeFiles {
  const root = join(dataRoot, 'volumes');
  mkdirSync(root, { recursive: true, mode: 0o711 });
  spreadDirectories(root);
  return new Directories(root, new Trash(join(root, '.trash'), log), workers);
}

class Directories implements VolumeFiles {
  readonly #root: string;
  readonly #trash: Trash;
  readonly #workers: StorageWorkers;
  readonly #lock = new KeyedLock();

  constructor(root: string, trash: Trash, workers: StorageWorkers) {
    this.#root = root;
    this.#trash = trash;
    this.#workers = workers;
  }

  path(name: string): string {
    return join(this.#directory(name), '_data');
  }

  async create(name: string, options: Record<string, string> = {}): Promise<string> {
    parseVolumeOptions(options);
    const path = this.path(name);
    failpoint('volume.create.before');
    try {
      await mkdir(path, { recursive: true, mode: 0o701 });
      // The umask must not decide what a container's users may see.
      await chmod(path, 0o755);
    } catch (error) {
      throw explain(error, path, `creating volume ${name}`);
    }
    failpoint('volume.create.after');
    return path;
  }

  async mount(name: string, options: Record<string, string>): Promise<void> {
    const wanted = parseVolumeOptions(options);
    if (wanted === undefined) return;
    const release = await this.#lock.acquire(name);
    try {
      if (await this.#isMounted(name)) return;
      failpoint('volume.mount.before');
      await mountVolume(wanted, this.path(name), name);
      failpoint('volume.mount.after');
    } finally {
      release();
    }
  }

  async unmount(name: string): Promise<void> {
    const release = await this.#lock.acquire(name);
    try {
      await this.#unmountNow(name);
    } finally {
      release();
    }
  }

  async remove(name: string): Promise<void> {
    const release = await this.#lock.acquire(name);
    try {
      failpoint('volume.remove.before');
      // Before the rename: what is mounted there (a bind, an NFS share) is not the volume's to delete.
      await this.#unmountNow(name);
      await this.#trash.take(this.#directory(name));
      failpoint('volume.remove.after');
    } finally {
      release();
    }
  }

  async fill(name: string, rootfs: string, target: string): Promise<void> {
    const path = this.path(name);
    failpoint('volume.fill.before');
    try {
      await this.#workers.fill(rootfs, target, path);
    } catch (error) {
      throw explain(error, path, `filling volume ${name} from the image`);
    }
    failpoint('volume.fill.after');
  }

  async usage(name: string): Promise<number> {
    return (await treeUsage(this.path(name))).bytes;
  }

  async list(): Promise<string[]> {
    return (await readdir(this.#root)).filter((name) => !name.startsWith('.'));
  }

  recover(): Promise<void> {
    return this.#trash.sweep();
  }

  async #unmountNow(name: string): Promise<void> {
    if (await this.#isMounted(name)) await unmount(this.path(name), { detach: true });
  }

  async #isMounted(name: string): Promise<boolean> {
    const path = this.path(name);
    return (await mountTable()).some(({ target }) => target === path);
  }

  #directory(name: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/.test(name)) {
      throw isleError('invalidName', { kind: 'volume', name });
    }
    return join(this.#root, name);
  }
}

function explain(error: unknown, path: string, what: string): unknown {
  const explained = explainFull(error, path, what);
  if (explained !== error || isIsleError(error)) return explained;
  return isleError('internal', { message: `${what} failed: ${messageOf(error)}` }, error);
}
