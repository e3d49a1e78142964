import { constants } from 'node:fs';
import { inRoot, must, statAt, tree } from '../tree.ts';

const openDirectory = constants.O_RDONLY | constants.O_DIRECTORY;
const cached = 64;
/** An archive that leaves out more of its directories is not made for being told about them. */
const impliedLimit = 20_000;

/**
 * Open descriptors of the directories of a tree by their path, resolved by the kernel inside the root. The kernel
 * follows symlinks in a path as a process inside would; a cached descriptor skips that, so whoever replaces a
 * directory or a symlink calls `forget`.
 */
export class Directories implements Disposable {
  /** The directory that '' means. */
  readonly base: number;
  readonly #root: number;
  readonly #prefix: string;
  readonly #open = new Map<string, number>();
  readonly #replace: (parent: number, name: string, path: string) => number | undefined;
  /** Directories that were made because something lies in them. */
  readonly implied = new Set<string>();

  /**
   * Paths start at `base` inside `root`; absolute symlinks at the root. `replace` may put a directory where something
   * else stands on the way, and returns its descriptor.
   */
  constructor(
    root: number,
    base: string,
    replace: (parent: number, name: string, path: string) => number | undefined,
  ) {
    this.#root = root;
    this.#prefix = base === '' ? '' : `${base}/`;
    this.#replace = replace;
    this.base = must(tree.treeOpen(root, base, openDirectory, 0, inRoot), 'open', base);
  }

  /** Descriptor of `path` ('' is the base), which is made with its parents when it is missing. Do not close it. */
  get(path: string): number {
    if (path === '') return this.base;
    const known = this.#open.get(path);
    if (known !== undefined) return known;
    const fd = this.open(path, openDirectory);
    if (fd < 0) return this.#make(path, fd);
    this.keep(path, fd);
    return fd;
  }

  /** A fresh descriptor, or a negative errno. */
  open(path: string, flags: number): number {
    return tree.treeOpen(this.#root, this.#prefix + path, flags, 0, inRoot);
  }

  #make(path: string, failure: number): number {
    const [parentPath, name] = splitPath(path);
    if (parentPath !== '' && failure === ENOENT) this.get(parentPath);
    if (failure !== ENOENT && failure !== ENOTDIR) must(failure, 'open', path);
    const parent = this.get(parentPath);
    let fd = tree.treeMkdir(parent, name, 0o755);
    if (fd === EEXIST) {
      fd = this.#replace(parent, name, path) ?? failure;
      must(fd, 'open', path);
    } else {
      must(fd, 'mkdir', path);
      if (this.implied.size < impliedLimit) this.implied.add(path);
    }
    this.keep(path, fd);
    return fd;
  }

  /** Takes over `fd` as the descriptor of `path`. */
  keep(path: string, fd: number): void {
    const old = this.#open.get(path);
    if (old !== undefined) {
      tree.treeClose(old);
      this.#open.delete(path);
    }
    this.#open.set(path, fd);
    if (this.#open.size <= cached) return;
    const [first] = this.#open;
    this.#open.delete(first![0]);
    tree.treeClose(first![1]);
  }

  forget(): void {
    for (const fd of this.#open.values()) tree.treeClose(fd);
    this.#open.clear();
  }

  [Symbol.dispose](): void {
    this.forget();
    tree.treeClose(this.base);
  }
}

export const ENOENT = -2;
export const EEXIST = -17;
export const ENOTDIR = -20;

export function splitPath(path: string): [parent: string, name: string] {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? ['', path] : [path.slice(0, slash), path.slice(slash + 1)];
}

/** True for what overlayfs takes for "deleted": a character device 0/0. */
export function isWhiteout(dir: number, name: string): boolean {
  const stat = statAt(dir, name);
  return (
    typeof stat === 'object' &&
    (stat.mode & constants.S_IFMT) === constants.S_IFCHR &&
    stat.devMajor === 0 &&
    stat.devMinor === 0
  );
}
