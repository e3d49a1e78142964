import { mkdir } from 'node:fs/promises';
import type { IdMap } from '../../engine/runtime.ts';
import { MS, mount } from '../../host/mount.ts';
import { stagedPath } from './staging.ts';

/** Where a shareable workload's /dev/shm lies: POSIX shared memory is files, which no IPC namespace shares. */
export function sharedMemoryOf(bundle: string): string {
  return stagedPath(bundle, 'shm');
}

export async function mountSharedMemory(bundle: string, bytes: number, map?: IdMap): Promise<void> {
  const path = sharedMemoryOf(bundle);
  await mkdir(path, { mode: 0o700 });
  const owner = map ? `,uid=${map.hostId},gid=${map.hostId}` : '';
  await mount('shm', path, 'tmpfs', MS.nosuid | MS.nodev | MS.noexec, `mode=1777,size=${bytes}${owner}`);
}
