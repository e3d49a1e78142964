import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { bindMount, unmount } from '../mount.ts';
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
