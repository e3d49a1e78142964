import { constants } from 'node:fs';
import { inRoot, must, openFile, tree } from '../host/tree.ts';

const fileLimit = 4 << 20;

/** The ids of `user[:group]`, names or numbers, by the root's own /etc/passwd and /etc/group. */
export function lookUpUser(root: number, text: string): { uid: number; gid: number } {
  const [user = '', group] = text.split(':', 2);
  const entry = records(root, 'etc/passwd').find(([name, , uid]) => name === user || uid === user);
  const uid = numberOf(entry?.[2] ?? user, `user "${user}"`);
  if (group === undefined || group === '')
    return { uid, gid: numberOf(entry?.[3] ?? '0', `group of "${user}"`) };
  const groupEntry = records(root, 'etc/group').find(([name, , gid]) => name === group || gid === group);
  return { uid, gid: numberOf(groupEntry?.[2] ?? group, `group "${group}"`) };
}

function numberOf(text: string, what: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0x7fffffff) {
    throw Object.assign(new Error(`the ${what} is not known in the container`), { code: 'UNKNOWN_USER' });
  }
  return Number(text);
}

function records(root: number, path: string): string[][] {
  const fd = openFile(root, path, constants.O_RDONLY, inRoot);
  if (fd < 0) return [];
  try {
    const buffer = Buffer.alloc(fileLimit);
    const count = must(tree.treeRead(fd, buffer, buffer.length, 0), 'read', path);
    return buffer
      .toString('utf8', 0, count)
      .split('\n')
      .map((line) => line.split(':'));
  } finally {
    tree.treeClose(fd);
  }
}
