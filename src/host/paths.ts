import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { nativeCalls } from './native.ts';

interface Calls {
  openat2(
    dirfd: number,
    path: string | Uint8Array,
    flags: number,
    mode: number,
    resolve: number,
  ): Promise<number>;
  closeFdSync(fd: number): void;
}

const calls = nativeCalls<Calls>()('openat2', 'closeFdSync');

/** The flag of open(2) that node:fs does not name. */
export const O_PATH = 0o10000000;

/** How openat2(2) may resolve a path. */
const RESOLVE = { noXdev: 1, noMagiclinks: 2, noSymlinks: 4, inRoot: 16 } as const;

export interface OpenInOptions {
  /** Permission bits of a file that is made. */
  mode?: number;
  /** Refuse symbolic links anywhere in the path (ELOOP). */
  noSymlinks?: boolean;
  /** Refuse to cross into another mount (EXDEV). */
  oneFilesystem?: boolean;
}

/**
 * Opens `path` as a process whose root is `root` would see it: `..` and absolute symbolic links stay inside, however
 * the tree changes meanwhile (openat2 with RESOLVE_IN_ROOT). `root` is a path or an open directory's descriptor;
 * `flags` those of open(2). Returns a descriptor for node:fs; the caller closes it.
 */
export async function openIn(
  root: string | number,
  path: string | Uint8Array,
  flags: number,
  options: OpenInOptions = {},
): Promise<number> {
  if (typeof root === 'number')
    return calls.openat2(root, path, flags, options.mode ?? 0, resolveOf(options));
  const directory = await calls.openat2(AT_FDCWD, root, O_PATH | constants.O_DIRECTORY, 0, 0);
  try {
    return await openIn(directory, path, flags, options);
  } finally {
    calls.closeFdSync(directory);
  }
}

/**
 * Opens a plain file for reading as {@link openIn} finds it; undefined when it is something else. That is known before it is
 * opened: some of the host's devices do something when that happens, and whoever made the tree can have put one there.
 */
export async function openFileIn(root: string | number, path: string): Promise<FileHandle | undefined> {
  const place = await openIn(root, path, O_PATH);
  try {
    const name = `/proc/self/fd/${place}`;
    return (await stat(name)).isFile() ? await open(name, constants.O_RDONLY) : undefined;
  } finally {
    closeFd(place);
  }
}

/** Closes a descriptor that one of these faces gave. Throws EBADF when it is not open. */
export function closeFd(fd: number): void {
  calls.closeFdSync(fd);
}

const AT_FDCWD = -100;

function resolveOf(options: OpenInOptions): number {
  let resolve: number = RESOLVE.inRoot | RESOLVE.noMagiclinks;
  if (options.noSymlinks) resolve |= RESOLVE.noSymlinks;
  if (options.oneFilesystem) resolve |= RESOLVE.noXdev;
  return resolve;
}
