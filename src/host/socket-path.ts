import { constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeFd, O_PATH, openIn } from './paths.ts';
import { errnoOf } from '../lib/errors.ts';

/**
 * A name for a socket in a directory that somebody else (a VM's monitor) can write to, and change: of any length, and never through a link, be it
 * in place of that directory. It holds until disposed of. Waits for the socket to appear.
 */
export async function socketPath(path: string, signal: AbortSignal): Promise<{ path: string } & Disposable> {
  const directory = dirname(path);
  const name = join(basename(directory), basename(path));
  for (;;) {
    try {
      const fd = await openIn(dirname(directory), name, O_PATH | constants.O_NOFOLLOW, {
        noSymlinks: true,
      });
      return { path: `/proc/self/fd/${fd}`, [Symbol.dispose]: () => closeFd(fd) };
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    await sleep(10, undefined, { signal });
  }
}
