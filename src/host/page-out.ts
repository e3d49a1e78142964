import { readFile, stat } from 'node:fs/promises';
import { nativeCalls } from './native.ts';

interface Calls {
  pidfdOpenSync(pid: number): number;
  closeFdSync(fd: number): void;
  pageOut(pidfd: number, address: number, length: number): Promise<void>;
}

const calls = nativeCalls<Calls>()('pidfdOpenSync', 'closeFdSync', 'pageOut');

/**
 * Lets go of what process `pid` has mapped of the file at `path`, whatever that process calls it: it reads it again should it
 * ever look (process_madvise(2), MADV_PAGEOUT). Pages that other processes have mapped, too, stay.
 */
export async function pageOutFile(pid: number, path: string): Promise<void> {
  const pidfd = calls.pidfdOpenSync(pid);
  try {
    const [{ ino }, maps] = await Promise.all([stat(path), readFile(`/proc/${pid}/maps`, 'latin1')]);
    for (const line of maps.split('\n')) {
      const [, from, to, inode] = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+)/.exec(line) ?? [];
      if (from === undefined || to === undefined || Number(inode) !== ino) continue;
      const begin = Number.parseInt(from, 16);
      await calls.pageOut(pidfd, begin, Number.parseInt(to, 16) - begin);
    }
  } finally {
    calls.closeFdSync(pidfd);
  }
}
