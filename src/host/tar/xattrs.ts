import type { TarEntry } from '../../lib/tar/entry.ts';
import { tree, treeError } from '../tree.ts';

/**
 * overlayfs keeps its own state in these: from an archive they could redirect a directory or a file's data elsewhere
 * in the layers. https://docs.kernel.org/filesystems/overlayfs.html
 */
const reserved = /^(trusted|user)\.overlay\./;

export function setXattrs(fd: number, entry: TarEntry): void {
  for (const [key, value] of entry.xattrs) {
    if (reserved.test(key)) continue;
    const result = tree.treeSetXattr(fd, key, value);
    if (result >= 0 || result === ENOTSUP) continue;
    // user.* exists only on files and directories.
    if (result === EPERM && key.startsWith('user.') && entry.type !== 'file' && entry.type !== 'directory')
      continue;
    throw treeError(result, `setxattr ${key}`, entry.name);
  }
}

const EPERM = -1;
const ENOTSUP = -95;
