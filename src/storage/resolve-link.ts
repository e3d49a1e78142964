import { constants } from 'node:fs';
import { inRoot, O_PATH, tree } from '../host/tree.ts';

/** As Linux: more symlinks than this in one path are a loop. */
const mostLinks = 255;

/**
 * The absolute path inside `root` that `path` leads to when every symlink is followed, as far as it exists; the rest is
 * kept as written. For telling, not for opening: the tree may change meanwhile.
 */
export function resolveLink(root: number, path: string): string {
  const todo = path.split('/').reverse();
  const done: string[] = [];
  let links = 0;
  while (todo.length > 0) {
    const part = todo.pop()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const target = readLink(root, [...done, part].join('/'));
    if (target === undefined || ++links > mostLinks) {
      done.push(part);
      continue;
    }
    if (target.startsWith('/')) done.length = 0;
    todo.push(...target.split('/').reverse());
  }
  return `/${done.join('/')}`;
}

function readLink(root: number, path: string): string | undefined {
  const fd = tree.treeOpen(root, path, O_PATH | constants.O_NOFOLLOW, 0, inRoot);
  if (fd < 0) return undefined;
  const target = tree.treeReadlink(fd, '');
  tree.treeClose(fd);
  return typeof target === 'string' ? target : undefined;
}
