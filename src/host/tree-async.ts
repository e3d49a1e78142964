import { nativeCalls } from './native.ts';

interface Calls {
  removeTree(path: string): Promise<void>;
  spreadDirectoriesSync(path: string): void;
  syncFilesystem(path: string): Promise<void>;
  treeUsage(path: string): Promise<Buffer>;
}

const calls = nativeCalls<Calls>()('removeTree', 'spreadDirectoriesSync', 'syncFilesystem', 'treeUsage');

/**
 * Removes `path` (absolute) with everything below it, of any depth, never through a symlink; no error when it is not
 * there. Runs on libuv's thread pool for as long as it takes: start one at a time.
 */
export function removeTree(path: string): Promise<void> {
  return calls.removeTree(path);
}

/**
 * Lets ext4 put each new directory in `path` into a block group of its own choice (`chattr +T`), instead of all
 * of them beside `path`. Where many files were just removed ext4 passes over each of their inodes for some minutes
 * (`recently_deleted`), so that creating files in the same group takes several times as long. Other file systems:
 * nothing happens.
 */
export function spreadDirectories(path: string): void {
  calls.spreadDirectoriesSync(path);
}

/** syncfs(2) of the file system that holds the directory `path`. */
export function syncFilesystem(path: string): Promise<void> {
  return calls.syncFilesystem(path);
}

/** What is below the directory `path` on its own file system: bytes on disk (holes left out) and inodes, hard links once. */
export async function treeUsage(path: string): Promise<{ bytes: number; inodes: number }> {
  const numbers = await calls.treeUsage(path);
  return { bytes: Number(numbers.readBigInt64LE(0)), inodes: Number(numbers.readBigInt64LE(8)) };
}
