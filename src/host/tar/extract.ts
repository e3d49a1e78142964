import { constants } from 'node:fs';
import { TarError, textOf, type TarEntry, type TarTime } from '../../lib/tar/entry.ts';
import type { TarHandler } from '../../lib/tar/reader.ts';
import { must, O_PATH, statAt, tree } from '../tree.ts';
import { Directories, EEXIST, isWhiteout, splitPath } from './directories.ts';
import { FileWriter } from './file-writer.ts';
import { cleanPath } from './names.ts';
import type { Owners } from './owners.ts';
import { setXattrs } from './xattrs.ts';

export interface ExtractOptions {
  /** The tar is an image layer: `.wh.` members become what overlayfs calls whiteouts and opaque directories. */
  whiteouts: boolean;
  /** Everything belongs to this user instead of the one the archive names. */
  owner?: { uid: number; gid: number };
  /** The archive's owners (and `owner`) are those in a user namespace, for which the tree is mounted. */
  owners?: Owners;
  /** A directory is never replaced by something else, nor the other way round. */
  keepKinds?: boolean;
  /** A directory inside the root that the members' names start at; default: the root. Symlinks still see the root. */
  base?: string;
}

/**
 * Puts the members of a tar under a directory with owner, mode, times, xattrs, links and devices. Every path is resolved
 * by the kernel inside that directory; a name that climbs out of it is refused, an absolute one starts at it.
 * Existing things are replaced, directories merged (as Docker does).
 */
export class TarExtractor implements TarHandler, Disposable {
  readonly #options: ExtractOptions;
  readonly #directories: Directories;
  readonly #times = new Map<string, TarTime>();
  readonly #file = new FileWriter();
  /** Apparent bytes of the regular files. */
  size = 0;

  constructor(root: number, options: ExtractOptions) {
    this.#options = options;
    this.#directories = new Directories(root, options.base ?? '', (parent, name, path) =>
      this.#replaceWhiteout(parent, name, path),
    );
  }

  entry(entry: TarEntry): void {
    try {
      this.#begin(entry);
    } catch (error) {
      throw named(error, entry.name);
    }
  }

  data(chunk: Buffer, position: number): void {
    this.#file.write(chunk, position);
  }

  endEntry(): void {
    this.#file.end();
  }

  /** Directories that the archive has members in, but does not describe: they belong to root and have mode 755. */
  get implied(): string[] {
    return [...this.#directories.implied];
  }

  /** Sets the times of the directories, which their children changed. */
  finish(): void {
    for (const [path, time] of this.#times) {
      const [parentPath, name] = splitPath(path);
      const parent = this.#directories.get(parentPath);
      must(tree.treeUtimens(parent, name, time.seconds, time.nanoseconds), 'utimensat', path);
    }
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
    this.#directories[Symbol.dispose]();
  }

  #begin(entry: TarEntry): void {
    const path = cleanPath(entry.name);
    checkOwner(entry);
    if (this.#options.owner) {
      entry.uid = this.#options.owner.uid;
      entry.gid = this.#options.owner.gid;
    }
    this.#options.owners?.toHost(entry);
    if (path === '') return this.#beginRoot(entry);
    const [parentPath, name] = splitPath(path);
    if (this.#options.whiteouts && name.startsWith('.wh.')) return this.#whiteout(parentPath, name);
    const parent = this.#directories.get(parentPath);
    switch (entry.type) {
      case 'directory':
        return this.#directory(entry, parent, name, path);
      case 'file':
        this.size += entry.size;
        return this.#file.begin(entry, parent, name, () => this.#clear(entry, parent, name, path));
      default:
        return this.#node(entry, parent, name, path);
    }
  }

  #beginRoot(entry: TarEntry): void {
    if (entry.type !== 'directory') throw new TarError('its root is not a directory');
    this.#dressDirectory(entry, this.#directories.base, '');
  }

  #directory(entry: TarEntry, parent: number, name: string, path: string): void {
    let fd = tree.treeMkdir(parent, name, entry.mode);
    if (fd === EEXIST) {
      const stat = statAt(parent, name);
      if (typeof stat === 'object' && isDirectory(stat.mode)) {
        fd = tree.treeOpen(
          parent,
          name,
          constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
          0,
          0,
        );
      } else {
        fd = this.#replaceWhiteout(parent, name, path) ?? this.#remakeDirectory(entry, parent, name, path);
      }
    }
    must(fd, 'mkdir', path);
    this.#directories.keep(path, fd);
    this.#directories.implied.delete(path);
    this.#dressDirectory(entry, fd, path);
  }

  #remakeDirectory(entry: TarEntry, parent: number, name: string, path: string): number {
    return tree.treeMkdir(this.#clear(entry, parent, name, path), name, entry.mode);
  }

  #dressDirectory(entry: TarEntry, fd: number, path: string): void {
    const { seconds, nanoseconds } = entry.mtime;
    must(tree.treeDress(fd, entry.mode, entry.uid, entry.gid, seconds, nanoseconds), 'chown', path);
    setXattrs(fd, entry);
    if (path !== '') this.#times.set(path, entry.mtime);
  }

  #node(entry: TarEntry, parent: number, name: string, path: string): void {
    let result = this.#makeNode(entry, parent, name);
    if (result === EEXIST) {
      if (entry.type === 'link' && this.#isSame(entry, parent, name)) return;
      parent = this.#clear(entry, parent, name, path);
      result = this.#makeNode(entry, parent, name);
    }
    must(result, entry.type === 'link' ? 'link' : 'mknod', path);
    if (entry.xattrs.size === 0 || entry.type === 'link') return;
    const fd = must(tree.treeOpen(parent, name, O_PATH | constants.O_NOFOLLOW, 0, 0), 'open', path);
    try {
      setXattrs(fd, entry);
    } finally {
      tree.treeClose(fd);
    }
  }

  #makeNode(entry: TarEntry, parent: number, name: string): number {
    const { uid, gid, mtime, devMajor, devMinor } = entry;
    const { seconds, nanoseconds } = mtime;
    if (entry.type === 'symlink') {
      if (entry.linkName === '') throw new TarError('the symbolic link has no target');
      return tree.treeSymlink(entry.linkName, parent, name, uid, gid, seconds, nanoseconds);
    }
    if (entry.type === 'link') return this.#link(entry, parent, name);
    const mode = entry.mode | typeBits[entry.type as keyof typeof typeBits];
    const [major, minor] = entry.type === 'fifo' ? [0, 0] : [devMajor, devMinor];
    if (major > 0xfff || minor > 0xfffff) throw new TarError('the device number is out of range');
    return tree.treeMknod(parent, name, mode, major, minor, uid, gid, seconds, nanoseconds);
  }

  /** The target's parent is resolved in the root; the target itself may be a symlink, which is then linked as such. */
  #link(entry: TarEntry, parent: number, name: string): number {
    const [targetParent, targetName] = splitPath(cleanPath(entry.linkName));
    if (targetName === '') throw new TarError('the hard link has no target');
    const from = must(
      this.#directories.open(targetParent, O_PATH | constants.O_DIRECTORY),
      'link',
      entry.linkName,
    );
    try {
      return tree.treeLink(from, targetName, parent, name);
    } finally {
      tree.treeClose(from);
    }
  }

  /** A hard link to itself, or one that is there already: removing it first would lose the file. */
  #isSame(entry: TarEntry, parent: number, name: string): boolean {
    const [targetParent, targetName] = splitPath(cleanPath(entry.linkName));
    const mine = statAt(parent, name);
    const theirs = statAt(this.#directories.get(targetParent), targetName);
    return (
      typeof mine === 'object' &&
      typeof theirs === 'object' &&
      mine.inode === theirs.inode &&
      mine.device === theirs.device
    );
  }

  /** Makes room for `entry` where something stands. Returns the parent's descriptor, which may be a new one. */
  #clear(entry: TarEntry, parent: number, name: string, path: string): number {
    const stat = statAt(parent, name);
    if (typeof stat === 'number') return parent;
    if (this.#options.keepKinds && isDirectory(stat.mode) !== (entry.type === 'directory')) {
      const [what, by] = isDirectory(stat.mode)
        ? ['directory', 'non-directory']
        : ['non-directory', 'directory'];
      throw new TarError(`cannot overwrite ${what} "${textOf(path)}" with ${by}`);
    }
    must(tree.treeRemove(parent, name), 'unlink', path);
    if ((stat.mode & constants.S_IFMT) === constants.S_IFREG) return parent;
    this.#directories.forget();
    this.#times.delete(path);
    for (const known of this.#times.keys()) if (known.startsWith(`${path}/`)) this.#times.delete(known);
    return this.#directories.get(splitPath(path)[0]);
  }

  /** https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts */
  #whiteout(parentPath: string, name: string): void {
    const parent = this.#directories.get(parentPath);
    if (name === '.wh..wh..opq') return setOpaque(parent, parentPath);
    // aufs's own bookkeeping.
    if (name.startsWith('.wh..wh.')) return;
    const hidden = name.slice(4);
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw new TarError('it deletes a parent directory');
    const result = tree.treeMknod(parent, hidden, constants.S_IFCHR, 0, 0, 0, 0, 0, 0);
    // The layer has that name too: what it deletes is the one below.
    if (result === EEXIST) return this.#hideBelow(parent, parentPath, hidden);
    must(result, 'mknod', `${parentPath}/${hidden}`);
  }

  #hideBelow(parent: number, parentPath: string, name: string): void {
    const fd = tree.treeOpen(
      parent,
      name,
      constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
      0,
      0,
    );
    if (fd < 0) return;
    try {
      setOpaque(fd, `${parentPath}/${name}`);
    } finally {
      tree.treeClose(fd);
    }
  }

  /** A directory over a whiteout of the same layer: new, and hiding what is below. */
  #replaceWhiteout(parent: number, name: string, path: string): number | undefined {
    if (!this.#options.whiteouts || !isWhiteout(parent, name)) return undefined;
    must(tree.treeRemove(parent, name), 'unlink', path);
    const fd = must(tree.treeMkdir(parent, name, 0o755), 'mkdir', path);
    setOpaque(fd, path);
    return fd;
  }
}

const typeBits = { char: constants.S_IFCHR, block: constants.S_IFBLK, fifo: constants.S_IFIFO };

function setOpaque(fd: number, path: string): void {
  must(tree.treeSetXattr(fd, 'trusted.overlay.opaque', Buffer.from('y')), 'setxattr', path);
}

function isDirectory(mode: number): boolean {
  return (mode & constants.S_IFMT) === constants.S_IFDIR;
}

/** The kernel takes 2^32 − 1 for "leave it", and cuts what is larger. */
function checkOwner(entry: TarEntry): void {
  if (entry.uid >= 0xffffffff || entry.gid >= 0xffffffff) {
    throw new TarError(`its owner ${entry.uid}:${entry.gid} is out of range`);
  }
}

function named(error: unknown, name: string): unknown {
  if (!(error instanceof TarError)) return error;
  const shown = JSON.stringify(textOf(name.slice(0, 200)));
  return new TarError(`member ${shown}: ${error.message}`, { cause: error });
}
