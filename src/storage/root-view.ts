import { randomBytes } from 'node:crypto';
import { mkdir, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { IdMap } from '../engine/runtime.ts';
import { bindMount, setReadOnly, unmount } from '../host/mount.ts';
import { closeFd, O_PATH, openIn } from '../host/paths.ts';
import { usernsFdOf } from '../host/user-namespace.ts';
import { errnoOf } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Logger } from '../lib/log.ts';
import { Rollback } from '../lib/rollback.ts';
import type { StorageWorkers } from './storage-workers.ts';

/** A container's root as `docker cp` sees it: its file system with volumes and binds, but without /proc, /dev and tmpfs. */
export interface ContainerRoot {
  /** How errors name the container. */
  container: string;
  /** The mounted root file system on the host. */
  root: string;
  readOnly: boolean;
  /** It is mounted for a user namespace with this map. */
  idMap?: IdMap;
  /** Outer targets first. */
  mounts: {
    source: string;
    subpath?: string;
    target: string;
    readOnly: boolean;
    /** The source has owners for the user namespace already. */
    mapped?: boolean;
  }[];
}

export interface View extends AsyncDisposable {
  readonly path: string;
}

/**
 * The root with its mounts. Without mounts that is the root itself; else they are put together under
 * `<runRoot>/views/<random>` with each target resolved inside the root, and read-only where the container has it so:
 * then the kernel refuses writes however a path leads there. What a crash leaves is swept by the snapshots' recovery.
 */
export async function openView(
  { root, readOnly, idMap, mounts }: ContainerRoot,
  { runRoot, workers, log }: { runRoot: string; workers: StorageWorkers; log: Logger },
): Promise<View> {
  if (mounts.length === 0) return { path: root, [Symbol.asyncDispose]: async () => {} };
  await using undo = new Rollback();
  const path = join(runRoot, 'views', randomBytes(8).toString('hex'));
  failpoint('view.mount.before');
  await mkdir(path, { recursive: true, mode: 0o700 });
  undo.add('directory', () => rmdir(path));
  await bindMount(root, path, { recursive: false, propagation: 'private' });
  undo.add('mount', () => unmount(path, { detach: true }));
  await addMounts(path, mounts, idMap, workers);
  if (readOnly) await setReadOnly(path, true);
  failpoint('view.mount.after');
  undo.keep();
  return {
    path,
    async [Symbol.asyncDispose]() {
      try {
        await unmount(path, { detach: true });
        await rmdir(path);
      } catch (err) {
        log.warn(
          { err, path },
          'a view of a container could not be taken down; it is swept on the next start',
        );
      }
    },
  };
}

async function addMounts(
  view: string,
  mounts: ContainerRoot['mounts'],
  idMap: IdMap | undefined,
  workers: StorageWorkers,
): Promise<void> {
  const userns = idMap && (await usernsFdOf(idMap));
  try {
    for (const mount of mounts) await addMount(view, mount, { idMap, userns }, workers);
  } finally {
    if (userns !== undefined) closeFd(userns);
  }
}

async function addMount(
  view: string,
  { source, subpath, target, readOnly, mapped }: ContainerRoot['mounts'][number],
  { idMap, userns }: { idMap: IdMap | undefined; userns: number | undefined },
  workers: StorageWorkers,
): Promise<void> {
  const opening = subpath ? openIn(source, subpath, O_PATH) : openIn('/', source, O_PATH);
  const sourceFd = await opening.catch(gone);
  if (sourceFd === undefined) return;
  try {
    const info = await stat(`/proc/self/fd/${sourceFd}`);
    const targetFd = await openTarget(view, target, info.isDirectory(), workers, idMap);
    try {
      // Mounts below the source are not of the container's owners: they stay out where owners are translated.
      const recursive = userns === undefined;
      // A device node of the host's lies where they cannot be.
      const idmap = !mapped && (info.isFile() || info.isDirectory()) ? userns : undefined;
      const options = { sourceFd, targetFd, readOnly, recursive, propagation: 'private' as const };
      await bindMount('', '', { ...options, idmap }).catch(async (error: unknown) => {
        // A guest has such a source all the same; what is in it belongs to nobody.
        if (idmap === undefined || !['EINVAL', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
        await bindMount('', '', options);
      });
    } finally {
      closeFd(targetFd);
    }
  } finally {
    closeFd(sourceFd);
  }
}

/** A container that never started has no place for its mounts yet. */
async function openTarget(
  view: string,
  target: string,
  directory: boolean,
  workers: StorageWorkers,
  idMap: IdMap | undefined,
): Promise<number> {
  try {
    return await openIn(view, target, O_PATH);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    await workers.makePlace(view, target, directory, idMap);
    return await openIn(view, target, O_PATH);
  }
}

/** A bind whose source the user has removed since: there is nothing to see. */
function gone(error: unknown): undefined {
  if (errnoOf(error) === 'ENOENT') return undefined;
  throw error;
}
