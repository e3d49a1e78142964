import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { O_PATH } from '../../host/paths.ts';
import { isleError } from '../../lib/errors.ts';

/**
 * Throws unless the created (not yet started) process stands in a directory of its own root.
 *
 * The runtime changes into the working directory while it still holds descriptors of the host; a link to
 * `/proc/self/fd/N` anywhere on the path, also one that a neighbour swaps in at that moment on a shared volume,
 * would leave the workload outside (CVE-2024-21626). Now its directory is pinned: it must lie on a mount that
 * the process can see.
 */
export function checkWorkingDirectory(pid: number, cwd: string): void {
  const fd = openSync(`/proc/${pid}/cwd`, O_PATH | constants.O_DIRECTORY);
  try {
    const mount = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'latin1').split('\n');
    if (mount !== undefined && mounts.some((line) => line.startsWith(`${mount} `))) return;
  } finally {
    closeSync(fd);
  }
  throw isleError('invalidParameter', {
    message: `the working directory "${cwd}" is refused: it leads out of the container's root`,
  });
}
