import { nativeCalls } from './native.ts';

interface Calls {
  openat2(
    dirfd: number,
    path: string | Uint8Array,
    flags: number,
    mode: number,
    resolve: number,
  ): Promise<number>;
  openat2Sync(dirfd: number, path: string | Uint8Array, flags: number, mode: number, resolve: number): number;
  closeFdSync(fd: number): void;
}

const calls = nativeCalls<Calls>()('openat2', 'openat2Sync', 'closeFdSync');

/** Flags of open(2) that node:fs does not name. */
export const O_PATH = 0o10000000;
export const O_TMPFILE = 0o20200000;

/** How openat2(2) may resolve a path. */
const RESOLVE = { noXdev: 1, noMagiclinks: 2, noSymlinks: 4, beneath: 8, inRoot: 16 } as const;

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
    return calls.openat2(root, path, flags, options.mode ?? 0, resolveOf(options, RESOLVE.inRoot));
  const directory = await calls.openat2(AT_FDCWD, root, O_PATH | O_DIRECTORY, 0, 0);
  try {
    return await openIn(directory, path, flags, options);
  } finally {
    calls.closeFdSync(directory);
  }
}

/** {@link openIn} on this thread: for workers. */
export function openInSync(
  root: string | number,
  path: string | Uint8Array,
  flags: number,
  options: OpenInOptions = {},
): number {
  if (typeof root === 'number')
    return calls.openat2Sync(root, path, flags, options.mode ?? 0, resolveOf(options, RESOLVE.inRoot));
  const directory = calls.openat2Sync(AT_FDCWD, root, O_PATH | O_DIRECTORY, 0, 0);
  try {
    return openInSync(directory, path, flags, options);
  } finally {
    calls.closeFdSync(directory);
  }
}

/** Like {@link openInSync}, but a path that would leave `root` (`..`, an absolute link) is refused with EXDEV. */
export function openBeneathSync(
  root: number,
  path: string | Uint8Array,
  flags: number,
  options: OpenInOptions = {},
): number {
  return calls.openat2Sync(root, path, flags, options.mode ?? 0, resolveOf(options, RESOLVE.beneath));
}

/** Closes a descriptor that one of these faces gave. Throws EBADF when it is not open. */
export function closeFd(fd: number): void {
  calls.closeFdSync(fd);
}

const AT_FDCWD = -100;
const O_DIRECTORY = 0o200000;

function resolveOf(options: OpenInOptions, scope: number): number {
  let resolve: number = scope | RESOLVE.noMagiclinks;
  if (options.noSymlinks) resolve |= RESOLVE.noSymlinks;
  if (options.oneFilesystem) resolve |= RESOLVE.noXdev;
  return resolve;
}
