import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MS, mount, unmount } from '../../host/mount.ts';
import { errnoOf } from '../../lib/errors.ts';

/** Where a shareable workload's /dev/shm lies: POSIX shared memory is files, which no IPC namespace shares. */
export function sharedMemoryOf(bundle: string): string {
  return join(bundle, 'shm');
}

export async function mountSharedMemory(bundle: string, bytes: number): Promise<void> {
  const path = sharedMemoryOf(bundle);
  await mkdir(path, { mode: 0o700 });
  await mount('shm', path, 'tmpfs', MS.nosuid | MS.nodev | MS.noexec, `mode=1777,size=${bytes}`);
}

/** Who still uses it keeps it. No error when there is none. */
export async function unmountSharedMemory(bundle: string): Promise<void> {
  const path = sharedMemoryOf(bundle);
  const there = await stat(path).then(
    () => true,
    () => false,
  );
  if (!there) return;
  try {
    await unmount(path, { detach: true });
  } catch (error) {
    // EINVAL: the directory was made, the mount was not.
    if (errnoOf(error) !== 'EINVAL' && errnoOf(error) !== 'ENOENT') throw error;
  }
}
