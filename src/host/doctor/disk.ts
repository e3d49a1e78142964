import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import { formatBytes } from '../../lib/units.ts';
import { diskSpace } from '../disk.ts';
import { overlayMount, unmount } from '../mount.ts';
import { runOk } from '../run.ts';
import type { DoctorOptions, Finding } from './finding.ts';
import { nearestDirectory } from './place.ts';

const LITTLE = 5e9;
const TOO_LITTLE = 500e6;
const FEW_INODES = 50_000;

export async function checkDisk(options: DoctorOptions): Promise<Finding> {
  const space = await diskSpace(await nearestDirectory(options.dataRoot));
  const found = `${formatBytes(space.available)} free of ${formatBytes(space.total)} (${space.type}) for ${options.dataRoot}`;
  const finding = { name: 'disk', found, why: 'images, layers and volumes lie there' };
  const advice = 'isle system prune, or give another --data-root';
  if (space.available < TOO_LITTLE) return { ...finding, status: 'fail', advice };
  // Some file systems (btrfs) count no inodes.
  const fewInodes = space.inodes > 0 && space.inodesFree < FEW_INODES;
  if (fewInodes)
    return { ...finding, status: 'warn', found: `${found}, only ${space.inodesFree} inodes`, advice };
  if (space.available < LITTLE) return { ...finding, status: 'warn', advice };
  return { ...finding, status: 'ok' };
}

/** Mounts a small overlay where the data root is: a file system may exist and still not carry an overlay's upper layer. */
export async function checkOverlay(options: DoctorOptions): Promise<Finding> {
  const place = await nearestDirectory(options.dataRoot);
  const finding = {
    name: 'overlay',
    why: 'the root file systems of containers are overlays over image layers',
  };
  try {
    await tryOverlay(place);
    return { ...finding, status: 'ok', found: `overlayfs works on ${place}` };
  } catch (error) {
    const known = /\boverlay$/m.test(await readFile('/proc/filesystems', 'utf8'));
    return {
      ...finding,
      status: 'fail',
      found: known ? `no overlay on ${place}: ${messageOf(error)}` : 'the kernel has no overlayfs',
      advice: known
        ? 'give a --data-root on ext4, xfs or btrfs (not on an overlay, NFS or ecryptfs)'
        : 'modprobe overlay, or a kernel with CONFIG_OVERLAY_FS',
      fix: known
        ? undefined
        : { does: 'modprobe overlay', run: async () => void (await runOk('modprobe', ['overlay'])) },
    };
  }
}

async function tryOverlay(place: string): Promise<void> {
  const root = await mkdtemp(join(place, '.isle-doctor-'));
  try {
    const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(root, name));
    for (const directory of [lower, upper, work, merged]) await mkdir(directory!);
    await overlayMount(merged!, { lowers: [lower!], upper, work });
    await unmount(merged!);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
