import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoOf } from '../errors.ts';

/** An open file of a log. Stays readable when it is rotated away. */
export interface LogFile {
  handle: FileHandle;
  inode: bigint;
}

export async function openLogFile(path: string): Promise<LogFile | undefined> {
  try {
    const handle = await open(path, 'r');
    const { ino } = await handle.stat({ bigint: true });
    return { handle, inode: ino };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The log's files, oldest first: `path.3`, `path.2`, `path.1`, `path`. */
export async function logFiles(path: string): Promise<string[]> {
  const name = basename(path);
  const numbers = (await readdir(dirname(path)))
    .map((entry) => (entry.startsWith(`${name}.`) ? Number(entry.slice(name.length + 1)) : Number.NaN))
    .filter((number) => Number.isInteger(number) && number > 0)
    .sort((a, b) => b - a);
  return [...numbers.map((number) => join(dirname(path), `${name}.${number}`)), path];
}

/**
 * The path of the file that goes on where `inode` ends, or undefined while that one is the newest. Rotation
 * renames, so a reader that is behind finds its own file under another name.
 */
export async function successor(path: string, inode: bigint): Promise<string | undefined> {
  const paths = await logFiles(path);
  const inodes = await Promise.all(paths.map(inodeOf));
  const at = inodes.indexOf(inode);
  const later = paths.filter((_, index) => index > at && inodes[index] !== undefined);
  return later[0];
}

async function inodeOf(path: string): Promise<bigint | undefined> {
  try {
    return (await stat(path, { bigint: true })).ino;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
