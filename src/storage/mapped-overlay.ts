import { release } from 'node:os';
import type { IdMap } from '../engine/runtime.ts';
import { type MappedOverlayOptions, mappedOverlayMount } from '../host/mount.ts';
import { closeFd } from '../host/paths.ts';
import { usernsFdOf } from '../host/user-namespace.ts';
import { errnoOf, isleError, messageOf } from '../lib/errors.ts';

/** Mounts a snapshot for the user namespace of `map`. Throws `idMapUnsupported` saying what the host lacks. */
export async function mountMapped(
  target: string,
  map: IdMap,
  options: Omit<MappedOverlayOptions, 'userns' | 'root'>,
): Promise<void> {
  const userns = await usernsFdOf(map).catch((error: unknown) => {
    throw isleError('idMapUnsupported', { why: `it cannot be made here (${messageOf(error)})` }, error);
  });
  try {
    await mappedOverlayMount(target, { ...options, userns, root: { uid: map.hostId, gid: map.hostId } });
  } catch (error) {
    throw explain(error, options.layers);
  } finally {
    closeFd(userns);
  }
}

function explain(error: unknown, path: string): unknown {
  if (!['EINVAL', 'ENOSYS', 'EPERM'].includes(errnoOf(error) ?? '')) return error;
  if (isOld(release()))
    return isleError(
      'idMapUnsupported',
      { why: `overlayfs takes idmapped layers from Linux 5.19 on, and this is ${release()}` },
      error,
    );
  if (!messageOf(error).includes('mount_setattr')) return error;
  return isleError(
    'idMapUnsupported',
    { why: `the file system of ${path} has no idmapped mounts: keep the data root on ext4, xfs or btrfs` },
    error,
  );
}

function isOld(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map(Number);
  return major < 5 || (major === 5 && minor < 19);
}
