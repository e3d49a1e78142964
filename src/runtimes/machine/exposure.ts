import { chown, mkdir, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bindMount, MS, mount, setPropagation } from '../../host/mount.ts';
import { closeFd, O_PATH, openIn } from '../../host/paths.ts';
import { usernsFd } from '../../host/user-namespace.ts';
import { errnoOf, isleError, messageOf } from '../../lib/errors.ts';
import { qemuUser } from '../confined/dressing.ts';
import { unmountIfThere } from '../confined/monitor-directory.ts';

/** Who a file belongs to inside: its owner's files are QEMU's, or everybody's are who they are (a share's). */
export type Owners = 'qemu' | 'all';

/** The directory that travels into the container, and what is mounted in it, at any time. Only root inside can write to it. */
export async function mountFiles(path: string, hostId: number): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  const options = `mode=0755,size=64k,nr_inodes=256,uid=${hostId},gid=${hostId}`;
  await mount('isle-files', path, 'tmpfs', MS.nosuid | MS.nodev | MS.noexec, options);
  await setPropagation(path, 'shared');
}

/**
 * Makes a file or directory of the host visible as `name`. Where its file system cannot show other owners, its owner is changed.
 * Throws `invalidParameter` when it is not there.
 */
export async function exposeFile(
  files: string,
  name: string,
  source: string,
  { write, owners, hostId }: { write: boolean; owners: Owners; hostId: number },
): Promise<void> {
  const sourceFd = await openSource(source);
  const target = join(files, name);
  try {
    const info = await stat(`/proc/self/fd/${sourceFd}`);
    if (info.isDirectory()) await mkdir(target, { recursive: true });
    else await writeFile(target, '');
    const options = {
      sourceFd,
      recursive: owners === 'all',
      readOnly: !write,
      nosuid: true,
      nodev: true,
      noexec: owners !== 'all',
    };
    const user = hostId + qemuUser;
    const map = (id: number) => [
      owners === 'all'
        ? { container: 0, host: hostId, size: 65_536 }
        : { container: id, host: user, size: 1 },
    ];
    const idmap = await usernsFd(map(info.uid), map(info.gid));
    try {
      await bindMount('', target, { ...options, idmap });
    } catch (error) {
      if (!['EINVAL', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
      await bindMount('', target, options);
      if (owners === 'qemu') await chown(`/proc/self/fd/${sourceFd}`, user, user);
    } finally {
      closeFd(idmap);
    }
  } finally {
    closeFd(sourceFd);
  }
}

export async function hideFile(files: string, name: string): Promise<void> {
  const target = join(files, name);
  await unmountIfThere(target);
  // An empty place: were there another mount below, nothing of what it shows may be removed.
  await unlink(target).catch(async (error: unknown) => {
    if (errnoOf(error) === 'EISDIR') await rmdir(target);
    else if (errnoOf(error) !== 'ENOENT') throw error;
  });
}

async function openSource(source: string): Promise<number> {
  try {
    return await openIn('/', source, O_PATH);
  } catch (error) {
    throw isleError(
      'invalidParameter',
      { message: `cannot use ${source}: ${errnoOf(error) ?? messageOf(error)}` },
      error,
    );
  }
}
