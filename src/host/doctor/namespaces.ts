import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { bindMount, mappedOverlayMount, unmount } from '../mount.ts';
import { usernsFd } from '../user-namespace.ts';
import { closeFd } from '../paths.ts';
import type { DoctorOptions, Finding } from './finding.ts';
import { nearestDirectory } from './place.ts';

const ONE_RANGE = [{ container: 0, host: 100_000, size: 65_536 }];

export async function checkUserNamespaces(): Promise<Finding> {
  const name = 'user-namespaces';
  const why = 'they map a container’s root to an ordinary user of the host';
  const file = '/proc/sys/user/max_user_namespaces';
  const limit = Number(await readFile(file, 'utf8').catch(() => '0'));
  const advice = 'a kernel with CONFIG_USER_NS, and sysctl -w user.max_user_namespaces=15000';
  if (limit === 0) return { name, status: 'warn', found: 'turned off', why, advice };
  try {
    closeFd(await usernsFd(ONE_RANGE, ONE_RANGE));
    return { name, status: 'ok', found: `at most ${limit}`, why };
  } catch (error) {
    return { name, status: 'warn', found: messageOf(error), why, advice };
  }
}

/** Tries one where volumes lie: each file system must support it. */
export async function checkIdmappedMounts(options: DoctorOptions): Promise<Finding> {
  const name = 'idmapped-mounts';
  const why = 'uid and gid mapping of bind mounts and volumes uses them';
  const place = await nearestDirectory(options.dataRoot);
  try {
    await tryIdmap(place);
    return { name, status: 'ok', found: `work on ${place}`, why };
  } catch (error) {
    return {
      name,
      status: 'warn',
      found: `none on ${place} (${errnoOf(error) ?? messageOf(error)})`,
      why,
      advice:
        'give a --data-root on ext4, xfs or btrfs with Linux 5.15 or newer; mapped mounts are refused until then',
    };
  }
}

async function tryIdmap(place: string): Promise<void> {
  const root = await mkdtemp(join(place, '.isle-doctor-'));
  try {
    const [source, target] = [join(root, 'source'), join(root, 'target')];
    await mkdir(source);
    await mkdir(target);
    const userns = await usernsFd(ONE_RANGE, ONE_RANGE);
    try {
      await bindMount(source, target, { idmap: userns });
      await unmount(target);
    } finally {
      closeFd(userns);
    }
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** Tries a container's root for a user namespace: an overlay whose layers are mapped. */
export async function checkIdmappedLayers(options: DoctorOptions): Promise<Finding> {
  const name = 'idmapped-layers';
  const why = 'microVMs, system containers and --userns=auto give each container ids of its own by them';
  const place = await nearestDirectory(options.dataRoot);
  try {
    await tryMappedOverlay(place);
    return { name, status: 'ok', found: `work on ${place}`, why };
  } catch (error) {
    return {
      name,
      status: 'warn',
      found: `none on ${place} (${errnoOf(error) ?? messageOf(error)})`,
      why,
      advice: 'Linux 5.19 or newer and a --data-root on ext4, xfs or btrfs; or run with --userns=host',
    };
  }
}

async function tryMappedOverlay(place: string): Promise<void> {
  const root = await mkdtemp(join(place, '.isle-doctor-'));
  try {
    const [layers, writable, target] = ['layers', 'writable', 'target'].map((one) => join(root, one)) as [
      string,
      string,
      string,
    ];
    for (const path of [join(layers, 'lower'), join(writable, 'upper'), join(writable, 'work'), target])
      await mkdir(path, { recursive: true });
    const map = { hostId: ONE_RANGE[0]!.host, size: ONE_RANGE[0]!.size };
    await mappedOverlayMount(target, { layers, lowers: ['lower'], writable, map });
    await unmount(target);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
