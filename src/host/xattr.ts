import { errnoOf } from '../lib/errors.ts';
import { nativeCalls } from './native.ts';
import type { Name } from './nodes.ts';

interface Calls {
  lsetxattr(dirfd: number, name: Name, attribute: string, value: Uint8Array, flags: number): Promise<void>;
  lsetxattrSync(dirfd: number, name: Name, attribute: string, value: Uint8Array, flags: number): void;
  lgetxattr(dirfd: number, name: Name, attribute: string): Promise<Buffer>;
  lgetxattrSync(dirfd: number, name: Name, attribute: string): Buffer;
  llistxattrSync(dirfd: number, name: Name): Buffer;
  lremovexattrSync(dirfd: number, name: Name, attribute: string): void;
}

const calls = nativeCalls<Calls>()(
  'lsetxattr',
  'lsetxattrSync',
  'lgetxattr',
  'lgetxattrSync',
  'llistxattrSync',
  'lremovexattrSync',
);

// Each names a file as an open directory's descriptor and a name in it ('' is the descriptor itself, O_PATH too), and
// never follows a symbolic link at that name. Values are bytes. All run on this thread.

/** Throws ENOTSUP when the file system has no such attributes, EPERM for `user.*` on links and devices. */
export function setXattr(dirfd: number, name: Name, attribute: string, value: Uint8Array): void {
  calls.lsetxattrSync(dirfd, name, attribute, value, 0);
}

/** The value (at most 64 KiB), or undefined when it has none. */
export function getXattr(dirfd: number, name: Name, attribute: string): Buffer | undefined {
  try {
    return calls.lgetxattrSync(dirfd, name, attribute);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** The names of all attributes; none where the file system has no attributes. */
export function listXattrs(dirfd: number, name: Name): string[] {
  try {
    return calls.llistxattrSync(dirfd, name).toString().split('\0').slice(0, -1);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** No error when there was none. */
export function removeXattr(dirfd: number, name: Name, attribute: string): void {
  try {
    calls.lremovexattrSync(dirfd, name, attribute);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

/** By path, on the thread pool, for files of our own making (a symbolic link at its end is not followed). */
export function setXattrAtPath(path: string, attribute: string, value: Uint8Array): Promise<void> {
  return calls.lsetxattr(AT_FDCWD, path, attribute, value, 0);
}

/** {@link getXattr} by path, on the thread pool. */
export async function getXattrAtPath(path: string, attribute: string): Promise<Buffer | undefined> {
  try {
    return await calls.lgetxattr(AT_FDCWD, path, attribute);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

const AT_FDCWD = -100;

function isAbsent(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'ENODATA' || code === 'ENOTSUP';
}
