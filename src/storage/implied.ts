import { constants } from 'node:fs';
import { inRoot, must, openTree, tree, treeError, xattrsOf } from '../host/tree.ts';
import { LowerView } from './diff.ts';

/**
 * Directories that a layer's archive has members in but does not describe take after the directories of the layers below, as
 * they would if the layer had been unpacked on top of those.
 */
export function dressImplied(upper: string, lowers: string[], paths: string[]): void {
  const upperFd = openTree(upper);
  const lowerFds = lowers.map(openTree);
  try {
    // The deepest first: dressing a child changes nothing of its parent, but making it did.
    for (const path of paths.toSorted((a, b) => b.length - a.length)) dress(upperFd, lowerFds, path);
  } finally {
    for (const fd of [upperFd, ...lowerFds]) tree.treeClose(fd);
  }
}

function dress(upper: number, lowers: number[], path: string): void {
  using below = lowerDirectory(lowers, path);
  const { stat, directories } = below;
  if (stat === undefined || directories.length === 0) return;
  const fd = tree.treeOpen(upper, path, constants.O_RDONLY | constants.O_DIRECTORY, 0, inRoot);
  // Replaced by a later member of the archive.
  if (fd < 0) return;
  try {
    for (const [key, value] of xattrsOf(directories[0]!, path)) {
      if (key.includes('.overlay.')) continue;
      const result = tree.treeSetXattr(fd, key, value);
      if (result < 0) throw treeError(result, 'setxattr', path);
    }
    const { mode, uid, gid, seconds, nanoseconds } = stat;
    must(tree.treeDress(fd, mode & 0o7777, uid, gid, seconds, nanoseconds), 'chown', path);
  } finally {
    tree.treeClose(fd);
  }
}

/** What the layers below show at `path`. */
function lowerDirectory(lowers: number[], path: string): LowerView {
  let view: LowerView | undefined;
  for (const name of path.split('/')) {
    const next = new LowerView(view?.directories ?? lowers, name);
    view?.[Symbol.dispose]();
    view = next;
  }
  return view!;
}
