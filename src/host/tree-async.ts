import { nativeCalls } from './native.ts';

interface Calls {
  removeTree(path: string): Promise<void>;
  syncFilesystem(path: string): Promise<void>;
  treeUsage(path: string): Promise<Buffer>;
}

const calls = nativeCalls<Calls>()('removeTree', 'syncFilesystem', 'treeUsage');

/**
 * Removes `path` (absolute) with everything below it, of any depth, never through a symlink; no error when it is not
 * there. Runs on libuv's thread pool for as long as it takes: start one at a time.
 */
export function removeTree(path: string): Promise<void> {
  return calls.removeTree(path);
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
