import { constants } from 'node:fs';
import { inRoot, must, openFile, openTree, statAt, tree } from '../host/tree.ts';

/** RESOLVE_NO_SYMLINKS */
const noSymlinks = 0x04;

/** systemd takes over the second when the first is empty. */
const ids = ['etc/machine-id', 'var/lib/dbus/machine-id'];

/**
 * Takes away from a copied upper directory what makes a machine that machine: `/etc/machine-id` as its first boot wrote
 * it (and D-Bus's) is emptied, so that the next boot makes another (machine-id(5)). One that came with the image is not in
 * there, and stays.
 */
export function renewIdentity(upper: string): void {
  const root = openTree(upper);
  try {
    for (const path of ids) empty(root, path);
  } finally {
    tree.treeClose(root);
  }
}

function empty(root: number, path: string): void {
  const fd = openFile(root, path, constants.O_WRONLY | constants.O_NOFOLLOW, inRoot | noSymlinks);
  // Not there, not a file, or "deleted" for overlayfs: nothing of its own.
  if (fd < 0) return;
  try {
    const stat = statAt(fd, '');
    if (typeof stat === 'number') return;
    // What is there by another name too is no machine-id.
    if (stat.links === 1 && stat.size > 0) must(tree.treeTruncate(fd, 0), 'truncate', path);
  } finally {
    tree.treeClose(fd);
  }
}
