import type { Readable } from 'node:stream';
import type { IdMap } from '../engine/runtime.ts';
import type { PathStat } from '../engine/engine.ts';
import { errnoOf, isIsleError, isleError, messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { openView, type ContainerRoot } from './root-view.ts';
import type { StorageWorkers } from './storage-workers.ts';
import { holdSubpath } from './subpath.ts';

export interface WriteOptions {
  noOverwriteDirNonDir: boolean;
  copyUidGid: boolean;
  /** With `copyUidGid`: the `user[:group]` of the container that everything shall belong to; '' keeps the archive's owners. */
  user?: string;
}

/**
 * `docker cp` and `export`. Every path is resolved by the kernel inside the container's root (openat2 with
 * RESOLVE_IN_ROOT), step by step on open descriptors, while the container may swap symlinks (CVE-2018-15664); no program
 * of the container ever runs for it.
 */
export interface ContainerFiles {
  stat(root: ContainerRoot, path: string): Promise<PathStat>;
  /** Reading must go to the end, or the stream be destroyed. */
  read(root: ContainerRoot, path: string): Promise<{ stat: PathStat; tar: Readable }>;
  /** `tar`: gzip, zstd or plain. */
  write(root: ContainerRoot, path: string, tar: Readable, options: WriteOptions): Promise<void>;
  /**
   * A path to `subpath` of a directory (of a volume, an image) that nobody can lead elsewhere until it is disposed of. Throws
   * `invalidParameter`.
   */
  subpath(root: string, subpath: string): Promise<{ path: string } & AsyncDisposable>;
  /** The root without what is mounted in it. */
  export(root: string, idMap?: IdMap): Promise<Readable>;
}

export interface ContainerFilesOptions {
  /** Holds `views/`, where a root with volumes is put together for the time of a copy. */
  runRoot: string;
  workers: StorageWorkers;
  log: Logger;
}

export function createContainerFiles({ runRoot, workers, log }: ContainerFilesOptions): ContainerFiles {
  const open = (root: ContainerRoot): ReturnType<typeof openView> =>
    openView(root, { runRoot, workers, log });
  return {
    async stat(root, path) {
      await using view = await open(root);
      return await explaining(root, path, () => workers.stat(view.path, path));
    },
    async read(root, path) {
      const view = await open(root);
      try {
        const { found, tar } = await explaining(root, path, () => workers.pack(view.path, path, root.idMap));
        tar.once('close', () => void view[Symbol.asyncDispose]());
        return { stat: found, tar };
      } catch (error) {
        await view[Symbol.asyncDispose]();
        throw error;
      }
    },
    async write(root, path, tar, options) {
      if (root.readOnly && root.mounts.length === 0)
        throw isleError('readOnlyPath', { what: 'container rootfs' });
      await using view = await open(root);
      const { noOverwriteDirNonDir, copyUidGid, user } = options;
      const owner = copyUidGid && user ? user : undefined;
      const request = { root: view.path, path, noOverwriteDirNonDir, owner, idMap: root.idMap };
      await explaining(root, path, () => workers.extract(request, tar as AsyncIterable<Buffer>));
    },
    async subpath(root, subpath) {
      try {
        return await holdSubpath(root, subpath, runRoot);
      } catch (error) {
        const why = errnoOf(error) === 'ENOENT' ? 'no such file or directory there' : messageOf(error);
        const message = `cannot access path ${subpath} of what is mounted from ${root}: ${why}`;
        throw isleError('invalidParameter', { message }, error);
      }
    },
    async export(root, idMap) {
      return workers.exportTar(root, idMap);
    },
  };
}

async function explaining<T>(root: ContainerRoot, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explain(error, root.container, path);
  }
}

function explain(error: unknown, container: string, path: string): unknown {
  if (isIsleError(error)) return error;
  const name = error instanceof Error ? error.name : '';
  if (name === 'TarError') return isleError('invalidArchive', { why: messageOf(error) }, error);
  switch (errnoOf(error)) {
    case 'ENOENT':
      return isleError('noSuchPath', { path, container }, error);
    case 'ENOTDIR':
      return isleError(
        'invalidParameter',
        { message: `${path} in container ${container} is not a directory` },
        error,
      );
    case 'ELOOP':
      return isleError('invalidParameter', { message: `${path}: too many symbolic links` }, error);
    case 'EROFS':
      return isleError('readOnlyPath', { what: `the file system of ${path}` }, error);
    case 'ENOSPC':
    case 'EDQUOT':
      return isleError('diskFull', { path, what: `copying to container ${container}` }, error);
    case 'UNKNOWN_USER':
      return isleError('invalidParameter', { message: messageOf(error) }, error);
    default:
      return isleError('internal', { message: `copying ${path} failed: ${messageOf(error)}` }, error);
  }
}
