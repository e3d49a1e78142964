import { nativeCalls } from './native.ts';

/** A file name: bytes when it is no UTF-8. */
export type Name = string | Uint8Array;

interface Calls {
  mkdiratSync(dirfd: number, name: Name, mode: number): void;
  symlinkatSync(target: Name, dirfd: number, name: Name): void;
  linkatSync(fromDir: number, from: Name, toDir: number, to: Name, flags: number): void;
  mknodatSync(dirfd: number, name: Name, mode: number, device: bigint): void;
  unlinkatSync(dirfd: number, name: Name, flags: number): void;
  fchownatSync(dirfd: number, name: Name, uid: number, gid: number, flags: number): void;
  fchmodatSync(dirfd: number, name: Name, mode: number): void;
  utimensatSync(
    dirfd: number,
    name: Name,
    atimeSeconds: number,
    atimeNanoseconds: number,
    mtimeSeconds: number,
    mtimeNanoseconds: number,
    flags: number,
  ): void;
  renameat2(fromDir: number, from: Name, toDir: number, to: Name, flags: number): Promise<void>;
  renameat2Sync(fromDir: number, from: Name, toDir: number, to: Name, flags: number): void;
  readlinkatSync(dirfd: number, name: Name): Buffer;
  statAtSync(dirfd: number, name: Name, flags: number): Buffer;
  lseekSync(fd: number, offset: number, whence: number): number;
  fallocateSync(fd: number, mode: number, offset: number, length: number): void;
  syncfs(fd: number): Promise<void>;
  flockSync(fd: number, operation: number): void;
}

const calls = nativeCalls<Calls>()(
  'mkdiratSync',
  'symlinkatSync',
  'linkatSync',
  'mknodatSync',
  'unlinkatSync',
  'fchownatSync',
  'fchmodatSync',
  'utimensatSync',
  'renameat2',
  'renameat2Sync',
  'readlinkatSync',
  'statAtSync',
  'lseekSync',
  'fallocateSync',
  'syncfs',
  'flockSync',
);

// Every `…At` takes an open directory's descriptor and a name in it, and follows no symbolic link at that name. A
// name with slashes is walked by the kernel's usual rules, which do follow: open its parent with `openIn` first.
// All of them run on this thread: meant for workers, or for single microsecond calls.

/** File types and bits of `mode`, as in st_mode. */
export const S = {
  ifmt: 0o170000,
  ifsock: 0o140000,
  iflnk: 0o120000,
  ifreg: 0o100000,
  ifblk: 0o060000,
  ifdir: 0o040000,
  ifchr: 0o020000,
  ififo: 0o010000,
  isuid: 0o4000,
  isgid: 0o2000,
  isvtx: 0o1000,
} as const;

/** The process's umask applies: `chmodAt` afterwards for exact bits. */
export function mkdirAt(dirfd: number, name: Name, mode: number): void {
  calls.mkdiratSync(dirfd, name, mode);
}

export function symlinkAt(target: Name, dirfd: number, name: Name): void {
  calls.symlinkatSync(target, dirfd, name);
}

/** A hard link. Of a symbolic link it makes another name, never of what that points to. */
export function linkAt(fromDir: number, from: Name, toDir: number, to: Name): void {
  calls.linkatSync(fromDir, from, toDir, to, 0);
}

/** Gives an open descriptor (O_TMPFILE, O_PATH) a name. Needs CAP_DAC_READ_SEARCH. */
export function linkFdAt(fd: number, toDir: number, to: Name): void {
  calls.linkatSync(fd, '', toDir, to, AT.emptyPath);
}

/** @param mode type ({@link S}) and permission bits; the umask applies. */
export function mknodAt(dirfd: number, name: Name, mode: number, major = 0, minor = 0): void {
  calls.mknodatSync(dirfd, name, mode, makeDevice(major, minor));
}

export function unlinkAt(dirfd: number, name: Name, options: { directory?: boolean } = {}): void {
  calls.unlinkatSync(dirfd, name, options.directory ? AT.removedir : 0);
}

/** Also of symbolic links. Clears set-uid and set-gid bits and file capabilities: set those afterwards. */
export function chownAt(dirfd: number, name: Name, uid: number, gid: number): void {
  calls.fchownatSync(dirfd, name, uid, gid, AT.symlinkNofollow);
}

/** Throws ENOTSUP for a symbolic link, which has no mode of its own. */
export function chmodAt(dirfd: number, name: Name, mode: number): void {
  calls.fchmodatSync(dirfd, name, mode);
}

/** Seconds since 1970 (may be negative) and nanoseconds (0–999,999,999). */
export interface Timestamp {
  seconds: number;
  nanoseconds: number;
}

/** Sets times of the file itself, symbolic links too. An absent time stays as it is. */
export function utimesAt(dirfd: number, name: Name, times: { atime?: Timestamp; mtime?: Timestamp }): void {
  const omit = { seconds: 0, nanoseconds: (1 << 30) - 2 };
  const { atime = omit, mtime = omit } = times;
  calls.utimensatSync(
    dirfd,
    name,
    atime.seconds,
    atime.nanoseconds,
    mtime.seconds,
    mtime.nanoseconds,
    AT.symlinkNofollow,
  );
}

export interface RenameOptions {
  /** EEXIST instead of replacing. */
  noReplace?: boolean;
  /** Both must exist; they change places in one step. */
  exchange?: boolean;
}

export function renameAtSync(
  fromDir: number,
  from: Name,
  toDir: number,
  to: Name,
  options: RenameOptions = {},
): void {
  calls.renameat2Sync(fromDir, from, toDir, to, renameFlags(options));
}

export function renameAt(
  fromDir: number,
  from: Name,
  toDir: number,
  to: Name,
  options: RenameOptions = {},
): Promise<void> {
  return calls.renameat2(fromDir, from, toDir, to, renameFlags(options));
}

/** The target's bytes. With name '' that of an O_PATH descriptor. */
export function readlinkAt(dirfd: number, name: Name): Buffer {
  return calls.readlinkatSync(dirfd, name);
}

export interface NodeStat {
  /** Type and permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Of a device. */
  major: number;
  minor: number;
  /** Bytes. */
  size: number;
  links: number;
  inode: bigint;
  /** Of the file system it lies on; only for comparing. */
  device: bigint;
  mtime: Timestamp;
  /** Blocks of 512 bytes that the disk holds. */
  blocks: number;
}

/** Of the file itself, symbolic links too. With name '' that of the descriptor. */
export function statAt(dirfd: number, name: Name): NodeStat {
  const raw = calls.statAtSync(dirfd, name, AT.symlinkNofollow | (name.length === 0 ? AT.emptyPath : 0));
  const at = (index: number) => Number(raw.readBigInt64LE(index * 8));
  return {
    mode: at(0),
    uid: at(1),
    gid: at(2),
    major: at(3),
    minor: at(4),
    size: at(5),
    links: at(6),
    inode: raw.readBigUInt64LE(7 * 8),
    device: raw.readBigUInt64LE(8 * 8),
    mtime: { seconds: at(9), nanoseconds: at(10) },
    blocks: at(11),
  };
}

/** Offset of the next data (or hole) at or after `offset`, or undefined when there is none before the end. */
export function seekSparse(fd: number, offset: number, what: 'data' | 'hole'): number | undefined {
  try {
    return calls.lseekSync(fd, offset, what === 'data' ? 3 : 4);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENXIO') return undefined;
    throw error;
  }
}

/** Frees the blocks of a range, which reads as zeros afterwards; the size stays. */
export function punchHole(fd: number, offset: number, length: number): void {
  const keepSize = 1;
  const punch = 2;
  calls.fallocateSync(fd, keepSize | punch, offset, length);
}

/** Writes everything of the file system that `fd` lies on to its disk. */
export function syncFilesystem(fd: number): Promise<void> {
  return calls.syncfs(fd);
}

/** Takes an exclusive lock on an open file for as long as the descriptor lives; false when another holds it. */
export function tryLock(fd: number): boolean {
  const exclusiveNonblocking = 2 | 4;
  try {
    calls.flockSync(fd, exclusiveNonblocking);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return false;
    throw error;
  }
}

const AT = { symlinkNofollow: 0x100, removedir: 0x200, emptyPath: 0x1000 } as const;

function renameFlags(options: RenameOptions): number {
  return (options.noReplace ? 1 : 0) | (options.exchange ? 2 : 0);
}

/** makedev(3). */
function makeDevice(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (
    ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn)
  );
}
