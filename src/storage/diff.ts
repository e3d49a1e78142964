import { constants } from 'node:fs';
import type { TarEntry } from '../lib/tar/entry.ts';
import { isWhiteout } from '../host/tar/directories.ts';
import { joinName, namesIn } from '../host/tar/walk.ts';
import { must, O_PATH, openTree, statAt, tree, xattrsOf, type TreeStat } from '../host/tree.ts';

export interface Change {
  /** Absolute, as bytes. */
  path: string;
  kind: 0 | 1 | 2;
}

/**
 * What an upper directory changes over its lower layers (topmost first), sorted by path, with Docker's rules: a file counts
 * as modified when its mode, owner, size or time differ; a directory when its mode or owner differ or something in it
 * changed; of what was deleted only the top is named.
 */
export function layerChanges(upper: string, lowers: string[]): Change[] {
  const upperFd = openTree(upper);
  const lowerFds = lowers.map(openTree);
  try {
    const changes: Change[] = [];
    compare(upperFd, lowerFds, '', changes);
    return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
  } finally {
    for (const fd of [upperFd, ...lowerFds]) tree.treeClose(fd);
  }
}

/** `lowers`: the directories that make up this one below the upper, topmost first. True when something changed. */
function compare(upper: number, lowers: number[], path: string, changes: Change[]): boolean {
  const before = changes.length;
  const names = namesIn(upper, path);
  for (const name of names) compareMember(upper, lowers, name, `${path}/${name}`, changes);
  return changes.length > before;
}

function compareMember(upper: number, lowers: number[], name: string, path: string, changes: Change[]): void {
  const stat = statAt(upper, name);
  if (typeof stat === 'number') return;
  using below = new LowerView(lowers, name);
  if (isMountpoint(upper, name, path, stat, below.stat)) return;
  if (isWhiteout(upper, name)) {
    if (below.stat) changes.push({ path, kind: 2 });
    return;
  }
  if (!isDirectory(stat)) {
    if (!below.stat) changes.push({ path, kind: 1 });
    else if (differs(stat, below.stat) || below.hasOtherCapability(upper, name))
      changes.push({ path, kind: 0 });
    return;
  }
  const fd = openDirectory(upper, name, path);
  try {
    const merged = isOpaque(fd, path) ? [] : below.directories;
    const inside: Change[] = [];
    compare(fd, merged, path, inside);
    if (merged.length === 0) reportHidden(fd, below.directories, path, inside);
    if (!below.stat) changes.push({ path, kind: 1 });
    else if (inside.length > 0 || differs(stat, below.stat)) changes.push({ path, kind: 0 });
    // What is in a directory that was not there before is new; what replaced a file too.
    for (const change of inside) changes.push(change);
  } finally {
    tree.treeClose(fd);
  }
}

/** What the runtime mounts over in every container. Docker keeps the places for it in a layer of their own, which no diff shows. */
const mountpoints = new Set([
  '/dev',
  '/dev/console',
  '/dev/mqueue',
  '/dev/pts',
  '/dev/shm',
  '/etc/hostname',
  '/etc/hosts',
  '/etc/resolv.conf',
  '/proc',
  '/sys',
]);

/** An empty place that the runtime made, rather than something the container has. */
function isMountpoint(
  upper: number,
  name: string,
  path: string,
  stat: TreeStat,
  below: TreeStat | undefined,
): boolean {
  if (!mountpoints.has(path) || below !== undefined) return false;
  if (!isDirectory(stat)) return stat.size === 0 && !isWhiteout(upper, name);
  const fd = openDirectory(upper, name, path);
  const inside = namesIn(fd, path);
  tree.treeClose(fd);
  return inside.every((child) => mountpoints.has(`${path}/${child}`));
}

/** A directory that was removed and made again hides the one below: what is not in it any more was deleted. */
function reportHidden(upper: number, hidden: number[], path: string, changes: Change[]): void {
  const names = new Set(hidden.flatMap((fd) => namesIn(fd, path)));
  for (const name of names) {
    using below = new LowerView(hidden, name);
    if (!below.stat) continue;
    const mine = statAt(upper, name);
    if (typeof mine === 'number') {
      changes.push({ path: `${path}/${name}`, kind: 2 });
      continue;
    }
    const found = changes.find((change) => change.path === `${path}/${name}`);
    if (found) found.kind = 0;
  }
}

/** What the layers below show under one name. */
export class LowerView implements Disposable {
  /** Undefined when they show nothing. */
  readonly stat: TreeStat | undefined;
  readonly #name: string;
  #layer = -1;
  /** When it is a directory: those of the layers that merge into it, topmost first. */
  readonly directories: number[] = [];

  constructor(parents: number[], name: string) {
    this.#name = name;
    for (const parent of parents) {
      const stat = statAt(parent, name);
      if (typeof stat === 'number') continue;
      if (isWhiteout(parent, name)) return;
      if (!isDirectory(stat)) {
        this.stat ??= stat;
        this.#layer = parent;
        return;
      }
      this.stat ??= stat;
      const fd = openDirectory(parent, name, name);
      this.directories.push(fd);
      if (isOpaque(fd, name)) return;
    }
  }

  /** setcap changes neither times nor size. */
  hasOtherCapability(upper: number, name: string): boolean {
    return this.#layer >= 0 && capabilityOf(upper, name) !== capabilityOf(this.#layer, this.#name);
  }

  [Symbol.dispose](): void {
    for (const fd of this.directories) tree.treeClose(fd);
  }
}

/** The whiteouts, opaque marks and members of an upper directory as an image layer names them. */
export function layerEntry(entry: TarEntry): TarEntry | undefined {
  if (entry.type !== 'char' || entry.devMajor !== 0 || entry.devMinor !== 0) return undefined;
  const slash = entry.name.lastIndexOf('/');
  const name = joinName(entry.name.slice(0, Math.max(slash, 0)), `.wh.${entry.name.slice(slash + 1)}`);
  return { ...entry, type: 'file', name, mode: 0, size: 0, devMajor: 0, devMinor: 0, xattrs: new Map() };
}

function capabilityOf(dir: number, name: string): string {
  const fd = must(tree.treeOpen(dir, name, O_PATH | constants.O_NOFOLLOW, 0, 0), 'open', name);
  const capability = xattrsOf(fd, name).get('security.capability')?.toString('latin1') ?? '';
  tree.treeClose(fd);
  return capability;
}

function openDirectory(parent: number, name: string, path: string): number {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  return must(tree.treeOpen(parent, name, flags, 0, 0), 'open', path);
}

export function isOpaque(fd: number, path: string): boolean {
  return xattrsOf(fd, path).get('trusted.overlay.opaque')?.toString('latin1') === 'y';
}

function isDirectory(stat: TreeStat): boolean {
  return (stat.mode & constants.S_IFMT) === constants.S_IFDIR;
}

function differs(a: TreeStat, b: TreeStat): boolean {
  if (a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid) return true;
  if (a.devMajor !== b.devMajor || a.devMinor !== b.devMinor) return true;
  if (isDirectory(a)) return false;
  return a.size !== b.size || a.seconds !== b.seconds || a.nanoseconds !== b.nanoseconds;
}
