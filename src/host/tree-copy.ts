import { constants } from 'node:fs';
import { namesIn } from './tar/walk.ts';
import {
  must,
  O_PATH,
  openFile,
  SEEK_DATA,
  SEEK_HOLE,
  S_IFMT,
  openTree,
  statAt,
  tree,
  treeError,
  type TreeStat,
  xattrsOf,
} from './tree.ts';

/**
 * Copies the directory `from` into the empty directory `to` so that nobody can tell them apart: owners, modes, times,
 * every xattr (those of overlayfs too), hard links, holes, devices, sockets. Blocks are shared where the file system can
 * (copy_file_range), else copied in the kernel. Synchronous: for worker threads. Nothing is followed, and three descriptors
 * serve a tree of any depth. Nobody may write to `from` meanwhile. Throws system errors.
 */
export function copyTree(from: string, to: string): void {
  using copier = new TreeCopier(openTree(from), openTree(to), {});
  copier.copy();
}

/**
 * What was copied while somebody wrote: by inode, what it became. Of those that changed since, {@link finishCopy} makes new
 * copies.
 */
export type EarlyCopy = Map<number, number>;

/** Entries that are remembered; of a larger tree the rest is copied at the end. */
const remembered = 1_000_000;

/** Copies what can be copied while `from` is written to. What comes out is no copy yet. Throws system errors. */
export function copyEarly(from: string, to: string): EarlyCopy {
  const early: EarlyCopy = new Map();
  using copier = new TreeCopier(openTree(from), openTree(to), { remember: early });
  copier.copy();
  return early;
}

/**
 * Makes a copy of what {@link copyEarly} made, now that nobody writes. `unchanged`: what changed before that time (milliseconds
 * since 1970) is as it was copied: to be true of mapped memory too, all of it must have been written to the disk between that
 * time and the early copy. Throws system errors.
 */
export function finishCopy(from: string, to: string, early: EarlyCopy, unchanged: number): void {
  using copier = new TreeCopier(openTree(from), openTree(to), { update: { early, unchanged } });
  copier.copy();
}

interface CopyMode {
  /** The tree changes under way: note what became what, and pass over what vanishes. */
  remember?: EarlyCopy;
  /** The target holds an earlier copy. */
  update?: { early: EarlyCopy; unchanged: number };
}

/** A directory that is being copied, and what is left to do in it. */
interface Level {
  /** Byte string, relative to the top, with a slash at the end; '' is the top. */
  path: string;
  stat: TreeStat;
  names: string[];
  next: number;
  /** There is nothing in the target yet. */
  fresh: boolean;
}

class TreeCopier implements Disposable {
  #from: number;
  #to: number;
  readonly #top: number;
  readonly #mode: CopyMode;
  /** Where the first name of what has several went, by inode. */
  readonly #links = new Map<number, string>();

  constructor(from: number, to: number, mode: CopyMode) {
    this.#from = from;
    this.#to = to;
    this.#mode = mode;
    this.#top = must(tree.treeOpen(to, '.', openDirectory, 0, 0), 'open', '.');
  }

  copy(): void {
    const levels = [this.#level('', this.#mode.update === undefined)];
    for (let level = levels.at(-1); level; level = levels.at(-1)) {
      const name = level.names[level.next++];
      if (name === undefined) {
        this.#dress(level);
        levels.pop();
        const above = levels.at(-1);
        if (above) this.#leave(above);
      } else if (this.#copyEntry(level, name)) {
        const below = this.#enter(level, name);
        if (below) levels.push(below);
      }
    }
  }

  [Symbol.dispose](): void {
    for (const fd of [this.#from, this.#to, this.#top]) tree.treeClose(fd);
  }

  /** Copies anything but the content of a directory: true asks for that. */
  #copyEntry(level: Level, name: string): boolean {
    const path = level.path + name;
    const stat = statAt(this.#from, name);
    if (typeof stat === 'number') {
      if (stat === ENOENT) return false;
      throw treeError(stat, 'lstat', path);
    }
    if ((stat.mode & S_IFMT) === constants.S_IFDIR) return true;
    if (!level.fresh && this.#isKept(stat, name, path)) return false;
    if (this.#isLink(stat, name, path)) return false;
    if ((stat.mode & S_IFMT) === constants.S_IFREG) this.#file(name, path);
    else this.#node(name, path, stat);
    return false;
  }

  /** True when the earlier copy is a copy still; else there is nothing by that name any more. */
  #isKept(stat: TreeStat, name: string, path: string): boolean {
    const there = statAt(this.#to, name);
    if (there === ENOENT) return false;
    const { early, unchanged } = this.#mode.update!;
    const same = typeof there === 'object' && early.get(stat.inode) === there.inode;
    if (!same || stat.changed >= unchanged) {
      must(tree.treeRemove(this.#to, name), 'unlink', path);
      return false;
    }
    if (stat.links > 1 && !this.#links.has(stat.inode)) this.#links.set(stat.inode, path);
    return true;
  }

  /** Undefined when it vanished. */
  #enter(level: Level, name: string): Level | undefined {
    const path = level.path + name;
    const from = tree.treeOpen(this.#from, name, openDirectory, 0, 0);
    if (this.#vanished(from)) return undefined;
    must(from, 'open', path);
    let to = level.fresh ? ENOENT : this.#openKept(from, name, path);
    const fresh = to < 0;
    if (fresh) to = tree.treeMkdir(this.#to, name, 0o700);
    if (to < 0) tree.treeClose(from);
    this.#move(from, must(to, 'mkdir', path));
    return this.#level(`${path}/`, fresh);
  }

  /** The directory that the earlier copy made for this one, or ENOENT when there is none. */
  #openKept(from: number, name: string, path: string): number {
    const to = tree.treeOpen(this.#to, name, openDirectory, 0, 0);
    if (to === ENOENT) return to;
    const [stat, there] = [statAt(from, ''), to < 0 ? to : statAt(to, '')];
    const same =
      typeof stat === 'object' &&
      typeof there === 'object' &&
      this.#mode.update!.early.get(stat.inode) === there.inode &&
      hasNoMore(xattrsOf(to, path), xattrsOf(from, path));
    if (same) return to;
    if (to >= 0) tree.treeClose(to);
    must(tree.treeRemove(this.#to, name), 'rmdir', path);
    return ENOENT;
  }

  /** Back to the directory above, which must be the one that was left. */
  #leave({ path, stat }: Level): void {
    const from = must(tree.treeOpen(this.#from, '..', openDirectory, 0, 0), 'open', path);
    const to = tree.treeOpen(this.#to, '..', openDirectory, 0, 0);
    if (to < 0) tree.treeClose(from);
    this.#move(from, must(to, 'open', path));
    const now = statAt(from, '');
    if (typeof now === 'number' || now.inode !== stat.inode || now.device !== stat.device)
      throw treeError(ESTALE, 'open', path);
  }

  #move(from: number, to: number): void {
    tree.treeClose(this.#from);
    tree.treeClose(this.#to);
    this.#from = from;
    this.#to = to;
  }

  #level(path: string, fresh: boolean): Level {
    const stat = statAt(this.#from, '');
    if (typeof stat === 'number') throw treeError(stat, 'fstat', path);
    this.#remember(stat, this.#to, '');
    const names = namesIn(this.#from, path);
    if (!fresh) {
      const known = new Set(names);
      for (const name of namesIn(this.#to, path))
        if (!known.has(name)) must(tree.treeRemove(this.#to, name), 'unlink', path + name);
    }
    return { path, stat, names, next: 0, fresh };
  }

  #remember(stat: TreeStat, dir: number, name: string): void {
    const { remember } = this.#mode;
    if (remember === undefined || remember.size >= remembered) return;
    const made = statAt(dir, name);
    if (typeof made === 'object') remember.set(stat.inode, made.inode);
  }

  /** What is gone a moment after it was seen is no failure while others write. */
  #vanished(result: number): boolean {
    return this.#mode.remember !== undefined && [ENOENT, ENOTDIR, ELOOP, ENXIO].includes(result);
  }

  #dress({ path, stat }: Level): void {
    dress(this.#from, this.#to, stat, path);
  }

  #isLink(stat: TreeStat, name: string, path: string): boolean {
    if (stat.links < 2) return false;
    const first = this.#links.get(stat.inode);
    if (first === undefined) {
      this.#links.set(stat.inode, path);
      return false;
    }
    must(tree.treeLink(this.#top, first, this.#to, name), 'link', path);
    return true;
  }

  #file(name: string, path: string): void {
    const from = openFile(this.#from, name, readFile);
    if (this.#vanished(from)) return;
    must(from, 'open', path);
    let to = -1;
    try {
      const stat = statAt(from, '');
      if (typeof stat === 'number') throw treeError(stat, 'fstat', path);
      to = must(tree.treeOpen(this.#to, name, makeFile, 0o600, 0), 'open', path);
      copyContent(from, to, stat, path);
      dress(from, to, stat, path);
      this.#remember(stat, to, '');
    } finally {
      if (to >= 0) tree.treeClose(to);
      tree.treeClose(from);
    }
  }

  #node(name: string, path: string, stat: TreeStat): void {
    const from = tree.treeOpen(this.#from, name, lookAt, 0, 0);
    if (this.#vanished(from)) return;
    must(from, 'open', path);
    let to = -1;
    try {
      this.#makeNode(from, name, path, stat);
      to = must(tree.treeOpen(this.#to, name, lookAt, 0, 0), 'open', path);
      copyXattrs(from, to, path);
      this.#remember(stat, to, '');
    } finally {
      if (to >= 0) tree.treeClose(to);
      tree.treeClose(from);
    }
  }

  #makeNode(from: number, name: string, path: string, stat: TreeStat): void {
    const { uid, gid, seconds, nanoseconds } = stat;
    if ((stat.mode & S_IFMT) === constants.S_IFLNK) {
      const target = tree.treeReadlink(from, '');
      if (typeof target === 'number') throw treeError(target, 'readlink', path);
      must(tree.treeSymlink(target, this.#to, name, uid, gid, seconds, nanoseconds), 'symlink', path);
      return;
    }
    const { mode, devMajor, devMinor } = stat;
    const made = tree.treeMknod(this.#to, name, mode, devMajor, devMinor, uid, gid, seconds, nanoseconds);
    must(made, 'mknod', path);
  }
}

/** chown takes file capabilities away: they come last. Changing xattrs leaves mtime alone. */
function dress(from: number, to: number, stat: TreeStat, path: string): void {
  const { mode, uid, gid, seconds, nanoseconds } = stat;
  must(tree.treeDress(to, mode & 0o7777, uid, gid, seconds, nanoseconds), 'chown', path);
  copyXattrs(from, to, path);
}

function copyXattrs(from: number, to: number, path: string): void {
  for (const [key, value] of xattrsOf(from, path))
    must(tree.treeSetXattr(to, key, value), `setxattr ${key}`, path);
}

/** Whether whoever copies the second over the first has the second. */
function hasNoMore(there: Map<string, Buffer>, wanted: Map<string, Buffer>): boolean {
  return [...there.keys()].every((key) => wanted.has(key));
}

function copyContent(from: number, to: number, { size, blocks }: TreeStat, path: string): void {
  if (size === 0) return;
  must(tree.treeTruncate(to, size), 'truncate', path);
  if (blocks * 512 >= size) return copyRange(from, to, 0, size, path);
  for (let at = 0; at < size; ) {
    const data = tree.treeSeek(from, at, SEEK_DATA);
    if (data === ENXIO || data >= size) return;
    // A file system that cannot tell.
    if (data < 0) return copyRange(from, to, at, size, path);
    const hole = tree.treeSeek(from, data, SEEK_HOLE);
    const end = hole < 0 ? size : Math.min(hole, size);
    copyRange(from, to, data, end, path);
    at = end;
  }
}

/** Bytes that one call may copy: a thread in the kernel cannot be ended. */
const longest = 64 << 20;

function copyRange(from: number, to: number, start: number, end: number, path: string): void {
  for (let at = start; at < end; ) {
    const count = tree.treeCopyRange(from, to, at, Math.min(end - at, longest));
    if (count === EXDEV || count === EOPNOTSUPP || count === EINVAL)
      return copyBytes(from, to, at, end, path);
    if (must(count, 'copy_file_range', path) === 0) return;
    at += count;
  }
}

function copyBytes(from: number, to: number, start: number, end: number, path: string): void {
  const buffer = Buffer.allocUnsafe(1 << 20);
  for (let at = start; at < end; ) {
    const count = must(tree.treeRead(from, buffer, Math.min(buffer.length, end - at), at), 'read', path);
    if (count === 0) return;
    must(tree.treeWrite(to, buffer.subarray(0, count), at), 'write', path);
    at += count;
  }
}

const openDirectory = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const readFile = constants.O_RDONLY | constants.O_NOFOLLOW;
const makeFile = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const lookAt = O_PATH | constants.O_NOFOLLOW;

const ENOENT = -2;
const ENXIO = -6;
const EXDEV = -18;
const ENOTDIR = -20;
const EINVAL = -22;
const ELOOP = -40;
const EOPNOTSUPP = -95;
const ESTALE = -116;
