import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MS, mount, unmount } from '../../host/mount.ts';
import { errnoOf } from '../../lib/errors.ts';
import { qemuUser } from './dressing.ts';

/**
 * What a monitor may write to, whoever has taken it over: of a bounded size, and charged to the monitor. Root inside
 * (`hostId`) has the directory.
 */
export async function mountMonitor(directory: string, hostId: number, kib: number): Promise<void> {
  await mkdir(directory, { mode: 0o700 });
  const options = `mode=0755,size=${kib}k,nr_inodes=64,uid=${hostId},gid=${hostId}`;
  await mount('isle-vm', directory, 'tmpfs', MS.nosuid | MS.nodev | MS.noexec, options);
}

/** A directory of QEMU's own in it, for its sockets. */
export async function makeSockets(directory: string, name: string, hostId: number): Promise<void> {
  const path = join(directory, name);
  await mkdir(path, { mode: 0o700, recursive: true });
  await chown(path, hostId + qemuUser, hostId + qemuUser);
}

/** With all that is mounted in it. */
export async function unmountIfThere(path: string): Promise<void> {
  await unmount(path, { detach: true }).catch((error: unknown) => {
    if (!['EINVAL', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
  });
}
