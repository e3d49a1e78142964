import { constants } from 'node:fs';
import { TarExtractor } from '../host/tar/extract.ts';
import { namesIn, TreeWalker } from '../host/tar/walk.ts';
import { inRoot, must, openTree, statAt, tree } from '../host/tree.ts';
import { bytesOf } from '../lib/tar/entry.ts';

/**
 * Copies what the directory `path` of `root` holds into the empty directory `target`: owners, modes, times, xattrs, links,
 * holes, and owner and mode of the directory itself. Does nothing when `target` is not empty or `path` is no directory.
 * Returns whether it copied.
 */
export function fillDirectory(root: string, path: string, target: string): boolean {
  const rootFd = openTree(root);
  const targetFd = openTree(target);
  let source = -1;
  try {
    if (namesIn(targetFd, target).length > 0) return false;
    source = tree.treeOpen(rootFd, bytesOf(path), constants.O_RDONLY | constants.O_DIRECTORY, 0, inRoot);
    if (source === ENOENT || source === ENOTDIR) return false;
    must(source, 'open', bytesOf(path));
    copyTree(source, targetFd);
    return true;
  } finally {
    for (const fd of [rootFd, targetFd, source]) if (fd >= 0) tree.treeClose(fd);
  }
}

/** The walk's steps go straight into an extractor: what a tar can carry is what is copied. */
function copyTree(source: number, target: number): void {
  using extractor = new TarExtractor(target, { whiteouts: false });
  for (const step of new TreeWalker({ oneFilesystem: true }).walk(source, '', '')) {
    if (step.kind === 'entry') extractor.entry(step.entry);
    else if (step.kind === 'data') extractor.data(step.chunk, step.position);
    else extractor.endEntry();
  }
  extractor.finish();
  const stat = statAt(source, '');
  if (typeof stat === 'object') {
    must(tree.treeUtimens(target, '', stat.seconds, stat.nanoseconds), 'utimensat', '.');
  }
}

const ENOENT = -2;
const ENOTDIR = -20;
