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
  return await checkPlace(options, tryIdmap, {
    name: 'idmapped-mounts',
    why: 'uid and gid mapping of bind mounts and volumes uses them',
    advice:
      'give a --data-root on ext4, xfs or btrfs with Linux 5.15 or newer; mapped mounts are refused until then',
  });
}

/** Tries a container's root for a user namespace: an overlay whose layers are mapped. */
export async function checkIdmappedLayers(options: DoctorOptions): Promise<Finding> {
  return await checkPlace(options, tryMappedOverlay, {
    name: 'idmapped-layers',
    why: 'microVMs, system containers and --userns=auto give each container ids of its own by them',
    advice: 'Linux 5.19 or newer and a --data-root on ext4, xfs or btrfs; or run with --userns=host',
  });
}

/** Whether `attempt` works in a directory of its own where the engine's data lie. */
async function checkPlace(
  options: DoctorOptions,
  attempt: (root: string) => Promise<void>,
  { name, why, advice }: { name: string; why: string; advice: string },
): Promise<Finding> {
  const place = await nearestDirectory(options.dataRoot);
  try {
    const root = await mkdtemp(join(place, '.isle-doctor-'));
    try {
      await attempt(root);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
    return { name, status: 'ok', found: `work on ${place}`, why };
  } catch (error) {
    const found = `none on ${place} (${errnoOf(error) ?? messageOf(error)})`;
    return { name, status: 'warn', found, why, advice };
  }
}

async function tryIdmap(root: string): Promise<void> {
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
}

async function tryMappedOverlay(root: string): Promise<void> {
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
}
