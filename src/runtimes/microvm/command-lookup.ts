import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { closeFd, O_PATH, openIn } from '../../host/paths.ts';
import { isleError } from '../../lib/errors.ts';
import type { GuestMount } from './guest-spec.ts';

/**
 * Throws `commandNotFound` or `commandNotExecutable` when a command cannot be executed in `root`, which is looked at from
 * outside: before a guest boots for it. What lies on a file system that only the guest will have is taken on trust.
 */
export async function checkCommand(
  root: string,
  { args, env, cwd }: { args: string[]; env: string[]; cwd: string },
  mounts: GuestMount[],
): Promise<void> {
  const command = args[0] ?? '';
  let denied = false;
  for (const path of candidates(command, env, cwd)) {
    if (mounts.some(({ type, target }) => type === 'tmpfs' && isBelow(path, target))) return;
    const found = await look(root, path);
    if (found === 'executable') return;
    if (found === 'refused') denied = true;
  }
  throw isleError(denied ? 'commandNotExecutable' : 'commandNotFound', { command });
}

function candidates(command: string, env: string[], cwd: string): string[] {
  if (command.includes('/')) return [posix.resolve('/', cwd, command)];
  const path = env.find((pair) => pair.startsWith('PATH='))?.slice(5) ?? '';
  return path.split(':').map((directory) => posix.resolve('/', cwd, directory, command));
}

async function look(root: string, path: string): Promise<'executable' | 'refused' | 'absent'> {
  let fd: number;
  try {
    fd = await openIn(root, path, O_PATH);
  } catch {
    return 'absent';
  }
  try {
    const info = await stat(`/proc/self/fd/${fd}`);
    return info.isFile() && (info.mode & 0o111) !== 0 ? 'executable' : 'refused';
  } finally {
    closeFd(fd);
  }
}

function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory.replace(/\/$/, '')}/`);
}
