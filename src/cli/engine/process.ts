import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../../lib/errors.ts';

/**
 * The pid of the daemon that has `root`, or undefined when none runs. The pid file alone proves nothing (a pid is
 * used again): the process must hold the file open, as the daemon does as long as it lives.
 */
export async function daemonPid(root: string): Promise<number | undefined> {
  const path = `${root}/daemon.pid`;
  let pid: number;
  try {
    pid = Number((await readFile(path, 'utf8')).trim());
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  return (await holds(pid, path)) ? pid : undefined;
}

async function holds(pid: number, path: string): Promise<boolean> {
  try {
    const wanted = await stat(path);
    const descriptors = await readdir(`/proc/${pid}/fd`);
    const found = await Promise.all(
      descriptors.map(async (fd) => {
        const link = `/proc/${pid}/fd/${fd}`;
        const target = await readlink(link).catch(() => '');
        if (!target.startsWith('/')) return false;
        const { dev, ino } = await stat(link).catch(() => ({ dev: -1, ino: -1 }));
        return dev === wanted.dev && ino === wanted.ino;
      }),
    );
    return found.includes(true);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Resolves to whether the process ended within `timeout` milliseconds. It is not a child of ours, so the kernel
 * tells us nothing; whose child it is may take its time to reap it.
 */
export async function hasEnded(pid: number, timeout: number): Promise<boolean> {
  const deadline = performance.now() + timeout;
  while (performance.now() < deadline) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    if (stat === '' || state === 'Z' || state === 'X') return true;
    await sleep(20);
  }
  return false;
}
