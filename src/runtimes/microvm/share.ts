import { mkdir, stat } from 'node:fs/promises';
import type { IdMap, Workload, WorkloadMount } from '../../engine/runtime.ts';
import { bindMount, MS, mount, setPropagation } from '../../host/mount.ts';
import { closeFd, O_PATH, openIn } from '../../host/paths.ts';
import { usernsFdOf } from '../../host/user-namespace.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { unmountIfThere } from '../confined/monitor-directory.ts';
import type { VmPlace } from './layout.ts';
import { openOrMake } from './mount-point.ts';

/** What is served when a guest boots: an empty directory that root inside may enter, where mounts appear later, too. */
export async function mountShare(place: VmPlace, hostId: number): Promise<void> {
  await mkdir(place.share, { mode: 0o700 });
  const options = `mode=0755,size=64k,nr_inodes=16,uid=${hostId},gid=${hostId}`;
  await mount('isle-share', place.share, 'tmpfs', MS.nosuid | MS.nodev, options);
  await setPropagation(place.share, 'shared');
  await mkdir(place.root, { mode: 0o755 });
}

/**
 * Puts the workload's root into the share, and its binds and volumes into that: each target is resolved inside the root,
 * whatever links the image has, and made when it is missing.
 */
export async function mountRoot(place: VmPlace, workload: Workload): Promise<void> {
  await bindMount(workload.rootfs, place.root, { recursive: false, propagation: 'shared' });
  const binds = workload.mounts.filter(({ type }) => type === 'bind');
  const userns = workload.idMap && binds.length > 0 ? await usernsFdOf(workload.idMap) : undefined;
  try {
    for (const bind of outerFirst(binds)) await mountBind(place.root, bind, workload.idMap, userns);
  } finally {
    if (userns !== undefined) closeFd(userns);
  }
  // They have travelled: what happens to them on the host from now on is nothing to the guest.
  await setPropagation(place.share, 'private', { recursive: true });
}

/** Takes both down with all that is mounted in them. No error when they are not there, or only half. */
export async function unmountPlace({ share, monitor }: VmPlace): Promise<void> {
  for (const path of [share, monitor]) await unmountIfThere(path);
}

function outerFirst(binds: WorkloadMount[]): WorkloadMount[] {
  return binds.toSorted((a, b) => a.target.split('/').length - b.target.split('/').length);
}

async function mountBind(
  root: string,
  bind: WorkloadMount,
  map: IdMap | undefined,
  userns?: number,
): Promise<void> {
  const sourceFd = await openSource(bind);
  try {
    const directory = (await stat(`/proc/self/fd/${sourceFd}`)).isDirectory();
    const targetFd = await openTarget(root, bind.target, directory, map);
    try {
      const options = {
        sourceFd,
        targetFd,
        recursive: !bind.nonRecursive,
        readOnly: bind.readOnly,
        recursiveReadOnly: bind.readOnly && bind.recursiveReadOnly === true && !bind.nonRecursive,
        nosuid: bind.options?.includes('nosuid'),
        nodev: true,
        noexec: bind.options?.includes('noexec'),
        propagation: 'shared' as const,
      };
      await mountMapped(options, bind.owners === 'host' ? undefined : userns);
    } finally {
      closeFd(targetFd);
    }
  } finally {
    closeFd(sourceFd);
  }
}

/** Owners as on the host, where its file system can do that; else what belongs to others there belongs to nobody inside. */
async function mountMapped(
  options: Parameters<typeof bindMount>[2],
  userns: number | undefined,
): Promise<void> {
  try {
    await bindMount('', '', { ...options, idmap: userns });
  } catch (error) {
    if (userns === undefined || !['EINVAL', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
    await bindMount('', '', options);
  }
}

async function openSource({ source, target }: WorkloadMount): Promise<number> {
  if (!source.startsWith('/') || source.includes('\0'))
    throw invalid(`invalid mount source "${source}" for ${target}: it must be an absolute path`);
  try {
    return await openIn('/', source, O_PATH);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR')
      throw invalid(
        `invalid mount config for type "bind": bind source path does not exist: ${source}`,
        error,
      );
    throw invalid(`cannot use mount source ${source}: ${errnoOf(error)}`, error);
  }
}

async function openTarget(
  root: string,
  target: string,
  directory: boolean,
  map: IdMap | undefined,
): Promise<number> {
  try {
    return await openOrMake(root, target, directory, map);
  } catch (error) {
    throw unusable(target, error);
  }
}

function unusable(target: string, error: unknown) {
  return invalid(`cannot mount on ${target}: ${errnoOf(error) ?? String(error)}`, error);
}

function invalid(message: string, cause?: unknown) {
  return isleError('invalidParameter', { message }, cause);
}
