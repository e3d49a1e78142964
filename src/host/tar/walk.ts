import { constants } from 'node:fs';
import type { TarEntry, TarType } from '../../lib/tar/entry.ts';
import type { Owners } from './owners.ts';
import {
  must,
  O_PATH,
  openFile,
  SEEK_DATA,
  SEEK_HOLE,
  statAt,
  tree,
  treeError,
  xattrsOf,
  type TreeStat,
} from '../tree.ts';

/** What a walk meets. `chunk` is only valid until the next step. */
export type WalkStep =
  | { kind: 'entry'; entry: TarEntry; dir: number; base: string; stat: TreeStat }
  | { kind: 'data'; chunk: Buffer; position: number }
  | { kind: 'end' };

export interface WalkOptions {
  /** Keep what overlayfs stored in xattrs: for reading an upper directory. */
  overlayXattrs?: boolean;
  /** Leave out the contents of directories on other file systems. */
  oneFilesystem?: boolean;
  /** Owners as they are in a user namespace, for which the tree is mounted. */
  owners?: Owners;
}

/**
 * Walks `base` in the directory `dir` in the order of names and yields its members as tar entries with their content: hard
 * links seen before as such, holes left out. Nothing is followed: each directory is opened from its parent's descriptor, so
 * that whoever swaps things meanwhile leads nowhere. Sockets are left out, as every archiver does.
 */
export class TreeWalker {
  readonly #options: WalkOptions;
  /** Names by `device:inode` of what has more than one link. */
  readonly #links = new Map<string, string>();
  readonly #chunk = Buffer.allocUnsafeSlow(1 << 18);

  constructor(options: WalkOptions = {}) {
    this.#options = options;
  }

  /** `name` is that of the member in the archive, a byte string; '' names the members of a directory without a prefix. */
  *walk(dir: number, base: string, name: string): Generator<WalkStep> {
    const stat = statAt(dir, base);
    if (typeof stat === 'number') {
      if (stat === ENOENT) return;
      throw treeError(stat, 'lstat', name);
    }
    yield* this.#member(dir, base, name, stat, stat.device);
  }

  *#member(dir: number, base: string, name: string, stat: TreeStat, device: number): Generator<WalkStep> {
    const type = types[stat.mode & constants.S_IFMT];
    if (type === undefined) return;
    if (type === 'directory') return yield* this.#directory(dir, base, name, stat, device);
    const entry = entryOf(type, name, stat);
    if (this.#isLink(entry, stat)) {
      this.#options.owners?.toInside(entry);
      yield { kind: 'entry', entry, dir, base, stat };
      yield { kind: 'end' };
      return;
    }
    if (type === 'file') return yield* this.#file(dir, base, entry, stat);
    const fd = tree.treeOpen(dir, base, O_PATH | constants.O_NOFOLLOW, 0, 0);
    if (fd === ENOENT) return;
    must(fd, 'open', name);
    try {
      if (type === 'symlink') {
        const target = tree.treeReadlink(fd, '');
        if (typeof target === 'number') throw treeError(target, 'readlink', name);
        entry.linkName = target;
      }
      this.#finish(fd, entry);
    } finally {
      tree.treeClose(fd);
    }
    yield { kind: 'entry', entry, dir, base, stat };
    yield { kind: 'end' };
  }

  *#directory(dir: number, base: string, name: string, stat: TreeStat, device: number): Generator<WalkStep> {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
    const fd = tree.treeOpen(dir, base === '' ? '.' : base, flags, 0, 0);
    if (fd === ENOENT || fd === ENOTDIR || fd === ELOOP) return;
    must(fd, 'open', name);
    try {
      const entry = entryOf('directory', name, stat);
      this.#finish(fd, entry);
      yield { kind: 'entry', entry, dir, base, stat };
      yield { kind: 'end' };
      if (this.#options.oneFilesystem && stat.device !== device) return;
      for (const child of namesIn(fd, name)) {
        const childStat = statAt(fd, child);
        // Gone meanwhile.
        if (typeof childStat === 'number') continue;
        yield* this.#member(fd, child, joinName(name, child), childStat, device);
      }
    } finally {
      tree.treeClose(fd);
    }
  }

  *#file(dir: number, base: string, entry: TarEntry, listed: TreeStat): Generator<WalkStep> {
    // What was a file a moment ago may be anything now.
    const fd = openFile(dir, base, constants.O_RDONLY | constants.O_NOFOLLOW);
    if (fd === ENOENT || fd === ENXIO) return;
    must(fd, 'open', entry.name);
    try {
      const stat = statAt(fd, '');
      if (typeof stat === 'number') throw treeError(stat, 'fstat', entry.name);
      Object.assign(entry, entryOf('file', entry.name, stat));
      const segments = dataSegments(fd, stat);
      if (segments) entry.sparse = segments;
      this.#finish(fd, entry);
      yield { kind: 'entry', entry, dir, base, stat: listed };
      yield* this.#content(fd, segments ?? [0, stat.size], entry.name);
      yield { kind: 'end' };
    } finally {
      tree.treeClose(fd);
    }
  }

  /** Exactly the promised bytes: a file that shrinks meanwhile is filled up with zeros, one that grows is cut. */
  *#content(fd: number, segments: number[], name: string): Generator<WalkStep> {
    for (let i = 0; i + 1 < segments.length; i += 2) {
      let position = segments[i]!;
      const end = position + segments[i + 1]!;
      while (position < end) {
        const wanted = Math.min(this.#chunk.length, end - position);
        const count = must(tree.treeRead(fd, this.#chunk, wanted, position), 'read', name);
        if (count === 0) this.#chunk.fill(0, 0, wanted);
        const length = count === 0 ? wanted : count;
        yield { kind: 'data', chunk: this.#chunk.subarray(0, length), position };
        position += length;
      }
    }
  }

  #isLink(entry: TarEntry, stat: TreeStat): boolean {
    if (stat.links < 2) return false;
    const key = `${stat.device}:${stat.inode}`;
    const first = this.#links.get(key);
    if (first === undefined) {
      this.#links.set(key, entry.name);
      return false;
    }
    entry.type = 'link';
    entry.linkName = first;
    entry.size = 0;
    return true;
  }

  #finish(fd: number, entry: TarEntry): void {
    for (const [key, value] of xattrsOf(fd, entry.name)) {
      const overlay = /^(trusted|user)\.overlay\./.test(key);
      if (overlay ? this.#options.overlayXattrs : travels(key)) entry.xattrs.set(key, value);
    }
    this.#options.owners?.toInside(entry);
  }
}

/** Labels and measurements of this host mean nothing on another. */
function travels(key: string): boolean {
  return key === 'security.capability' || key.startsWith('user.') || key.startsWith('system.posix_acl_');
}

export function joinName(parent: string, child: string): string {
  if (parent === '') return child;
  return parent.endsWith('/') ? `${parent}${child}` : `${parent}/${child}`;
}

/** Sorted by bytes, so that the same tree gives the same archive. */
export function namesIn(fd: number, path: string): string[] {
  const names = tree.treeList(fd);
  if (typeof names === 'number') throw treeError(names, 'readdir', path);
  return names.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** Undefined for a file without holes. */
function dataSegments(fd: number, stat: TreeStat): number[] | undefined {
  if (stat.size === 0 || stat.blocks * 512 >= stat.size) return undefined;
  const segments: number[] = [];
  for (let at = 0; at < stat.size; ) {
    const data = tree.treeSeek(fd, at, SEEK_DATA);
    if (data === ENXIO) break;
    // A file system that cannot tell.
    if (data < 0) return undefined;
    const hole = tree.treeSeek(fd, data, SEEK_HOLE);
    const end = hole < 0 ? stat.size : Math.min(hole, stat.size);
    if (data >= stat.size) break;
    segments.push(data, end - data);
    at = end;
    if (segments.length > 50_000) return undefined;
  }
  return segments.length === 2 && segments[0] === 0 && segments[1] === stat.size ? undefined : segments;
}

const types: Record<number, TarType | undefined> = {
  [constants.S_IFREG]: 'file',
  [constants.S_IFDIR]: 'directory',
  [constants.S_IFLNK]: 'symlink',
  [constants.S_IFCHR]: 'char',
  [constants.S_IFBLK]: 'block',
  [constants.S_IFIFO]: 'fifo',
};

export function entryOf(type: TarType, name: string, stat: TreeStat): TarEntry {
  const device = type === 'char' || type === 'block';
  return {
    type,
    name,
    linkName: '',
    mode: stat.mode & 0o7777,
    uid: stat.uid,
    gid: stat.gid,
    userName: '',
    groupName: '',
    size: type === 'file' ? stat.size : 0,
    mtime: { seconds: stat.seconds, nanoseconds: stat.nanoseconds },
    devMajor: device ? stat.devMajor : 0,
    devMinor: device ? stat.devMinor : 0,
    xattrs: new Map(),
  };
}

const ENOENT = -2;
const ENXIO = -6;
const ENOTDIR = -20;
const ELOOP = -40;
