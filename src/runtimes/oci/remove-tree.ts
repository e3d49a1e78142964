import { rm } from 'node:fs/promises';

/** Removes a directory with all in it, also while a monitor that is just ending still makes a file there. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 10 });
}
