import { lstat, mkdir, readlink, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkloadMount } from '../../engine/runtime.ts';
import { errnoOf } from '../../lib/errors.ts';

/** Directories of the host with programs and libraries; where they are links into /usr, they are that inside, too. */
const systemDirectories = ['/usr', '/bin', '/lib', '/lib64', '/sbin'];

/** The file that the dynamic linker looks libraries up in. */
const linkerCache = '/etc/ld.so.cache';

/**
 * Makes the directory that all monitors of one kind have as their root: the `places` (absolute) where things are mounted, and links.
 * Returns what to mount of the host.
 */
export async function makeMonitorRoot(
  root: string,
  places: { directories: string[]; files: string[] },
): Promise<WorkloadMount[]> {
  for (const path of ['proc', 'dev', 'sys', 'etc', 'isle', 'tmp', ...places.directories])
    await mkdir(join(root, path), { recursive: true, mode: 0o755 });
  for (const path of [...places.files, linkerCache]) await writeFile(join(root, path), '');
  const mounts: WorkloadMount[] = [];
  for (const path of systemDirectories) {
    const kind = await kindOf(path);
    if (kind === 'directory') {
      await mkdir(join(root, path), { recursive: true, mode: 0o755 });
      mounts.push(readOnly(path, path));
    } else if (kind === 'link') await sameLink(path, join(root, path));
  }
  mounts.push(readOnly(linkerCache, linkerCache));
  return mounts;
}

export function readOnly(source: string, target: string): WorkloadMount {
  return { type: 'bind', source, target, readOnly: true, nonRecursive: true, options: ['nosuid', 'nodev'] };
}

async function kindOf(path: string): Promise<'directory' | 'link' | undefined> {
  const info = await lstat(path).catch(() => undefined);
  return info?.isSymbolicLink() ? 'link' : info?.isDirectory() ? 'directory' : undefined;
}

async function sameLink(from: string, to: string): Promise<void> {
  try {
    await symlink(await readlink(from), to);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}
