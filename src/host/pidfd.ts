import { errnoOf } from '../lib/errors.ts';
import { nativeCalls } from './native.ts';
import { createPoll, READABLE } from './poll.ts';
import { bootId, isAlive } from './process.ts';

interface Calls {
  pidfdOpenSync(pid: number): number;
  pidfdSignalSync(pidfd: number, signal: number): void;
  closeFdSync(fd: number): void;
}

const calls = nativeCalls<Calls>()('pidfdOpenSync', 'pidfdSignalSync', 'closeFdSync');

export interface WatchOptions {
  /** The boot the process was seen in; another one means that it is gone. */
  bootId?: string;
  /** Stops watching; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** False: the watch alone does not keep this Node process alive. Default: true. */
  ref?: boolean;
}

/**
 * Resolves when process `pid` has ended: at once when it already has, or when that pid is now another process
 * (another start time, or another boot). Costs one descriptor while it waits. Works for processes that are no
 * children.
 */
export async function watchPid(pid: number, startTime: number, options: WatchOptions = {}): Promise<void> {
  options.signal?.throwIfAborted();
  if (options.bootId !== undefined && options.bootId !== bootId()) return;
  const pidfd = openPidfd(pid, startTime);
  if (pidfd === undefined) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const poll = createPoll(pidfd, () => resolve());
  const onAbort = () => reject(options.signal?.reason);
  try {
    if (options.ref === false) poll.unref();
    options.signal?.addEventListener('abort', onAbort, { once: true });
    poll.start(READABLE);
    await promise;
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
    poll.close();
    calls.closeFdSync(pidfd);
  }
}

/**
 * Signals exactly the process that was meant, never one that got its pid later.
 * Returns false when it has ended.
 */
export function pidfdSignal(pid: number, startTime: number, signal: number): boolean {
  const pidfd = openPidfd(pid, startTime);
  if (pidfd === undefined) return false;
  try {
    calls.pidfdSignalSync(pidfd, signal);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
    throw error;
  } finally {
    calls.closeFdSync(pidfd);
  }
}

/** A descriptor for the process, or undefined when it is gone. Checked after opening: then it can no longer change. */
function openPidfd(pid: number, startTime: number): number | undefined {
  let pidfd: number;
  try {
    pidfd = calls.pidfdOpenSync(pid);
  } catch (error) {
    // EINVAL: the pid is (now) a thread's, not a process's.
    if (errnoOf(error) === 'ESRCH' || errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
  if (isAlive(pid, startTime)) return pidfd;
  calls.closeFdSync(pidfd);
  return undefined;
}
