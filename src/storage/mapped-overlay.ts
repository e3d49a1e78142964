import { stat } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname } from 'node:path';
import type { IdMap } from '../engine/runtime.ts';
import { type MappedOverlayOptions, mappedOverlayMount } from '../host/mount.ts';
import { errnoOf, isleError, messageOf } from '../lib/errors.ts';

/** Mounts a snapshot for the user namespace of `map`. Throws `idMapUnsupported` saying what the host lacks. */
export async function mountMapped(
  target: string,
  map: IdMap,
  options: Omit<MappedOverlayOptions, 'map'>,
): Promise<void> {
  try {
    await mappedOverlayMount(target, { ...options, map });
  } catch (error) {
    throw explain(error, options.layers);
  }
}

/**
 * Root of a user namespace walks to its root as anybody would: `path` and every directory above has to let it through.
 * Throws `idMapUnsupported` naming the one that does not.
 */
export async function checkReach(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o001) === 0)
    throw isleError('idMapUnsupported', {
      why: `its root lies below ${path}, which is closed to others (chmod o+x ${path}, or start the engine with another --run-root)`,
    });
  if (path !== '/') await checkReach(dirname(path));
}

function explain(error: unknown, path: string): unknown {
  const what = messageOf(error);
  if (what.includes('user namespace'))
    return isleError('idMapUnsupported', { why: `it cannot be made here (${what})` }, error);
  if (!['EINVAL', 'ENOSYS', 'EPERM'].includes(errnoOf(error) ?? '')) return error;
  if (isOld(release()))
    return isleError(
      'idMapUnsupported',
      { why: `overlayfs takes idmapped layers from Linux 5.19 on, and this is ${release()}` },
      error,
    );
  if (!what.includes('mount_setattr')) return error;
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
