import { constants } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { nativeCalls } from './native.ts';

/**
 * Byte-exact, synchronous calls on file trees, for worker threads only (native/tree.c). Names are byte strings
 * (latin1). Each returns a result or a negative errno; {@link must} turns that into a system error.
 */
interface Calls {
  treeOpen(dir: number, path: string, flags: number, mode: number, resolve: number): number;
  treeWriteFile(
    dir: number,
    name: string,
    content: Buffer,
    mode: number,
    uid: number,
    gid: number,
    seconds: number,
    nanoseconds: number,
  ): number;
  treeWrite(fd: number, content: Buffer, position: number): number;
  /** Up to `length` bytes into the front of `into`; 0 at the end. */
  treeRead(fd: number, into: Buffer, length: number, position: number): number;
  treeDress(fd: number, mode: number, uid: number, gid: number, seconds: number, nanoseconds: number): number;
  treeTruncate(fd: number, size: number): number;
  treeClose(fd: number): number;
  /** A descriptor of the new directory. */
  treeMkdir(dir: number, name: string, mode: number): number;
  treeSymlink(
    target: string,
    dir: number,
    name: string,
    uid: number,
    gid: number,
    seconds: number,
    nanoseconds: number,
  ): number;
  treeLink(fromDir: number, from: string, dir: number, name: string): number;
  /** `mode` with the type bits. */
  treeMknod(
    dir: number,
    name: string,
    mode: number,
    major: number,
    minor: number,
    uid: number,
    gid: number,
    seconds: number,
    nanoseconds: number,
  ): number;
  /** An empty name means the descriptor's own file, here and in the next two. */
  treeChown(dir: number, name: string, uid: number, gid: number): number;
  treeUtimens(dir: number, name: string, seconds: number, nanoseconds: number): number;
  treeStat(dir: number, name: string, out: Float64Array): number;
  treeReadlink(dir: number, name: string): string | number;
  treeList(dir: number): string[] | number;
  /** Works on O_PATH descriptors too. */
  treeSetXattr(fd: number, key: string, value: Buffer): number;
  treeXattrs(fd: number): (string | Buffer)[] | number;
  treeUnlink(dir: number, name: string, directory: number): number;
  treeRename(fromDir: number, from: string, toDir: number, to: string, flags: number): number;
  /** With everything below; 0 when it is not there. */
  treeRemove(dir: number, name: string): number;
  treeSeek(fd: number, offset: number, whence: number): number;
  treeCopyRange(from: number, to: number, offset: number, length: number): number;
  treeSyncfs(fd: number): number;
  treeStartWriting(fd: number, offset: number, length: number): number;
}

export const tree: Calls = nativeCalls<Calls>()(
  'treeOpen',
  'treeWriteFile',
  'treeWrite',
  'treeRead',
  'treeDress',
  'treeTruncate',
  'treeClose',
  'treeMkdir',
  'treeSymlink',
  'treeLink',
  'treeMknod',
  'treeChown',
  'treeUtimens',
  'treeStat',
  'treeReadlink',
  'treeList',
  'treeSetXattr',
  'treeXattrs',
  'treeUnlink',
  'treeRename',
  'treeRemove',
  'treeSeek',
  'treeCopyRange',
  'treeSyncfs',
  'treeStartWriting',
);

const identity = nativeCalls<{ actAsSync(uid: number, gid: number): void }>()('actAsSync');

/**
 * Does `work` on this thread, a worker's, as the root of a user namespace: what it makes in a file system that is mounted for
 * that namespace gets an owner there. Capabilities stay as they are.
 */
export function actingAs<T>(map: { hostId: number } | undefined, work: () => T): T {
  if (map === undefined) return work();
  identity.actAsSync(map.hostId, map.hostId);
  let result: T;
  try {
    result = work();
  } catch (error) {
    identity.actAsSync(0, 0);
    throw error;
  }
  if (!(result instanceof Promise)) {
    identity.actAsSync(0, 0);
    return result;
  }
  return result.finally(() => identity.actAsSync(0, 0)) as T;
}

export const AT_FDCWD = -100;
export const O_PATH = 0o10000000;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: the directory is `/` for `..` and for absolute symlinks. */
export const inRoot = 0x10 | 0x02;

/** Passes a result on, or throws the system error it stands for: `code`, `errno`, `syscall`, `path`. */
export function must(result: number, call: string, path: string): number {
  if (result < 0) throw treeError(result, call, path);
  return result;
}

export function treeError(result: number, call: string, path: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(result);
  const shown = Buffer.from(path, 'latin1').toString('utf8');
  return Object.assign(new Error(`${code}: ${call} '${shown}'`), {
    code,
    errno: result,
    syscall: call,
    path: shown,
  });
}

export interface TreeStat {
  mode: number;
  uid: number;
  gid: number;
  size: number;
  seconds: number;
  nanoseconds: number;
  devMajor: number;
  devMinor: number;
  links: number;
  inode: number;
  device: number;
  /** 512-byte blocks on disk. */
  blocks: number;
  /** When content or attributes changed last: milliseconds since 1970. */
  changed: number;
}

/** lstat of `name` in `dir` ('' for the descriptor itself), or a negative errno. */
export function statAt(dir: number, name: string): TreeStat | number {
  const numbers = new Float64Array(13);
  const result = tree.treeStat(dir, name, numbers);
  if (result < 0) return result;
  const at = (i: number): number => numbers[i]!;
  return {
    mode: at(0),
    uid: at(1),
    gid: at(2),
    size: at(3),
    seconds: at(4),
    nanoseconds: at(5),
    devMajor: at(6),
    devMinor: at(7),
    links: at(8),
    inode: at(9),
    device: at(10),
    blocks: at(11),
    changed: at(12),
  };
}

/**
 * Opens a plain file, or gives a negative errno: ENXIO for anything else. What it is, is known before it is opened: some of
 * the host's devices do something when that happens (a watchdog begins to count, a tape rewinds), and whoever made the tree
 * can have put them there, or in place of a file a moment ago.
 */
export function openFile(dir: number, name: string, flags: number, resolve = 0): number {
  const place = tree.treeOpen(dir, name, O_PATH | (flags & constants.O_NOFOLLOW), 0, resolve);
  if (place < 0) return place;
  try {
    const stat = statAt(place, '');
    if (typeof stat === 'number') return stat;
    if ((stat.mode & S_IFMT) !== constants.S_IFREG) return ENXIO;
    return tree.treeOpen(AT_FDCWD, `/proc/self/fd/${place}`, flags & ~constants.O_NOFOLLOW, 0, 0);
  } finally {
    tree.treeClose(place);
  }
}

const ENXIO = -6;

/** Opens a directory by its path on the host, for the calls above. */
export function openTree(path: string): number {
  const bytes = Buffer.from(path, 'utf8').toString('latin1');
  return must(
    tree.treeOpen(AT_FDCWD, bytes, constants.O_RDONLY | constants.O_DIRECTORY, 0, 0),
    'open',
    bytes,
  );
}

/** Each of two paths of one file system gets what the other had, at once (RENAME_EXCHANGE). */
export function exchange(one: string, other: string): void {
  const [from, to] = [one, other].map((path) => Buffer.from(path, 'utf8').toString('latin1'));
  must(tree.treeRename(AT_FDCWD, from!, AT_FDCWD, to!, 2), 'exchange', from!);
}

export function xattrsOf(fd: number, path: string): Map<string, Buffer> {
  const list = tree.treeXattrs(fd);
  if (typeof list === 'number') throw treeError(list, 'listxattr', path);
  const xattrs = new Map<string, Buffer>();
  for (let i = 0; i + 1 < list.length; i += 2) xattrs.set(list[i] as string, list[i + 1] as Buffer);
  return xattrs;
}

/** File type bits of a mode. */
export const S_IFMT = constants.S_IFMT;
