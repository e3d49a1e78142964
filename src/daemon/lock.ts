import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { isleError } from '../lib/errors.ts';
import { tryLock } from '../host/file-lock.ts';

/**
 * Takes `path` for this process: a file with its pid, locked as long as it lives (the kernel lets go of the lock of
 * a process that died, so a stale file means nothing). Throws `dataRootInUse` naming the process that has it.
 */
export function lockRoot(root: string): { release(): void } {
  const path = `${root}/daemon.pid`;
  const fd = openSync(path, 'a+', 0o600);
  if (!tryLock(fd)) {
    closeSync(fd);
    throw isleError('dataRootInUse', { path: root, pid: readFileSync(path, 'utf8').trim() || 'unknown' });
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  return { release: () => closeSync(fd) };
}
