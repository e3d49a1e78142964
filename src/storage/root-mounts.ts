import { chmodSync, chownSync, mkdirSync, realpathSync } from 'node:fs';
import { readdir, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { IdMap } from '../engine/runtime.ts';
import { mountTable, unmount } from '../host/mount.ts';
import { errnoOf } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Logger } from '../lib/log.ts';
import { Rollback } from '../lib/rollback.ts';
import { checkReach } from './mapped-overlay.ts';
import { placeOfFile } from './subpath.ts';

interface Mounted {
  target: string;
  /** null after a restart, when only the kernel knows it. */
  idMap: IdMap | undefined | null;
}

/**
 * Where roots are mounted below the run root: `rootfs/<id>`, out of everybody's reach (CVE-2025-64507), and
 * `mapped/<id>/root` for a user namespace, whose own root has to get there and nobody else.
 */
export class RootMounts {
  readonly #plain: string;
  readonly #mapped: string;
  readonly #views: string;
  readonly #log: Logger;
  readonly #mounted = new Map<string, Mounted>();
  /** Whether roots of user namespaces can get to where theirs are. */
  #reachable = false;

  constructor(runRoot: string, log: Logger) {
    this.#log = log;
    mkdirSync(runRoot, { recursive: true, mode: 0o711 });
    const made = (name: string, mode: number): string => {
      mkdirSync(join(runRoot, name), { recursive: true, mode });
      // As the kernel's mount table names it.
      return realpathSync(join(runRoot, name));
    };
    this.#plain = made('rootfs', 0o700);
    this.#mapped = made('mapped', 0o711);
    this.#views = made('views', 0o700);
    chmodSync(this.#mapped, 0o711);
  }

  get(id: string): Mounted | undefined {
    return this.#mounted.get(id);
  }

  /** The place where `id` is mounted with exactly this map, or undefined. */
  find(id: string, idMap: IdMap | undefined): string | undefined {
    const mounted = this.#mounted.get(id);
    if (mounted === undefined) return undefined;
    const { target, idMap: map } = mounted;
    if (map === null) return target === this.#targetOf(id, idMap) ? target : undefined;
    return map?.hostId === idMap?.hostId && map?.size === idMap?.size ? target : undefined;
  }

  /** Mounts `id` by `mount` on the place for it. */
  async add(id: string, idMap: IdMap | undefined, mount: (target: string) => Promise<void>): Promise<string> {
    const target = this.#targetOf(id, idMap);
    await using undo = new Rollback();
    if (idMap && !this.#reachable) {
      await checkReach(this.#mapped);
      this.#reachable = true;
    }
    makePoint(target, idMap);
    undo.add('mountpoint', () => this.#removePoint(target));
    await mount(target);
    failpoint('snapshot.mount.after');
    this.#mounted.set(id, { target, idMap });
    undo.keep();
    return target;
  }

  async remove(id: string): Promise<void> {
    const target = this.#mounted.get(id)?.target;
    if (target === undefined) return;
    failpoint('snapshot.unmount.before');
    // Lazily: a process that still sits in there must not keep the container from being removed.
    await unmount(target, { detach: true }).catch(ignoreGone);
    failpoint('snapshot.unmount.after');
    this.#mounted.delete(id);
    await this.#removePoint(target);
  }

  /** Takes over the mounts of known containers, and undoes the others. */
  async recover(known: ReadonlySet<string>): Promise<void> {
    this.#mounted.clear();
    for (const { target } of await mountTable()) {
      const id = this.#ownerOf(target);
      if (id === undefined) continue;
      const idMap = target === this.#targetOf(id, undefined) ? undefined : null;
      if (known.has(id)) this.#mounted.set(id, { target, idMap });
      else await this.#tidy(() => unmount(target, { detach: true }));
    }
    await this.#sweepViews();
    await this.#sweepPoints();
  }

  async #sweepPoints(): Promise<void> {
    const used = new Set([...this.#mounted.values()].map(({ target }) => target));
    const points = [
      ...(await readdir(this.#plain)).map((id) => join(this.#plain, id)),
      ...(await readdir(this.#mapped)).map((id) => join(this.#mapped, id, 'root')),
    ];
    for (const point of points) if (!used.has(point)) await this.#tidy(() => this.#removePoint(point));
  }

  /** Roots put together for a copy that a crash interrupted. Never deletes through what is mounted: rmdir, and what we made to mount on, only. */
  async #sweepViews(): Promise<void> {
    const left = (await mountTable()).filter(({ target }) => target.startsWith(`${this.#views}/`));
    for (const { target } of left.reverse()) await this.#tidy(() => unmount(target, { detach: true }));
    for (const name of await readdir(this.#views)) {
      const place = join(this.#views, name);
      await this.#tidy(async () => {
        await unlink(join(place, placeOfFile)).catch(() => {});
        await rmdir(place);
      });
    }
  }

  /** What cannot be cleared away must not keep the engine from starting. */
  async #tidy(work: () => Promise<void>): Promise<void> {
    await work().catch((err: unknown) =>
      this.#log.warn({ err }, 'a leftover of an earlier run could not be removed'),
    );
  }

  #targetOf(id: string, idMap: IdMap | undefined): string {
    return idMap ? join(this.#mapped, id, 'root') : join(this.#plain, id);
  }

  /** The snapshot that is mounted at `target`. */
  #ownerOf(target: string): string | undefined {
    const name = target.slice(target.lastIndexOf('/') + 1);
    if (dirname(target) === this.#plain) return name;
    if (name === 'root' && dirname(dirname(target)) === this.#mapped)
      return dirname(target).slice(this.#mapped.length + 1);
    return undefined;
  }

  async #removePoint(target: string): Promise<void> {
    await rmdir(target).catch(ignoreGone);
    if (dirname(target) !== this.#plain) await rmdir(dirname(target)).catch(ignoreGone);
  }
}

/** A moment's work below the run root: it would take longer to hand it to another thread. */
function makePoint(target: string, idMap: IdMap | undefined): void {
  if (idMap) {
    makeDirectory(dirname(target));
    chownSync(dirname(target), idMap.hostId, idMap.hostId);
  }
  makeDirectory(target);
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

/** EINVAL: not a mountpoint any more. */
function ignoreGone(error: unknown): void {
  if (!['ENOENT', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
}
