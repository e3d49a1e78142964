import { realpath, stat } from 'node:fs/promises';
import type { IdMap, WorkloadMount } from '../../engine/runtime.ts';
import { canMap, mountTable } from '../../host/mount.ts';
import { isleError } from '../../lib/errors.ts';
import type { OciMount } from './spec-types.ts';
import type { UserNamespace } from './user-namespace.ts';

/** More mounts below one source than this are somebody's whole system. */
const mostBelow = 256;

/** The targets of the host's mounts, read when somebody asks. */
export type MountTargets = () => Promise<string[]>;

export function lazyTable(): MountTargets {
  let table: Promise<string[]> | undefined;
  return () => (table ??= mountTable().then((entries) => entries.map(({ target }) => target)));
}

/**
 * A bind with its owners right for a user namespace: with crun's option for it, and followed by binds of what is mounted
 * below its source, since crun translates a single mount. Throws `idMapUnsupported` for a source whose file system cannot
 * do that; what lies below and cannot is there all the same, with owners that are nobody.
 */
export async function mapBind(
  mount: WorkloadMount,
  bind: OciMount,
  userns: UserNamespace,
  table: MountTargets,
): Promise<OciMount[]> {
  if (mount.type !== 'bind' || mount.owners === 'host') return [bind];
  const info = await stat(mount.source);
  // A device node of the host's lies where owners cannot be translated; its mode says who may use it.
  if (!info.isFile() && !info.isDirectory()) return [bind];
  if (!(await canMap(mount.source, userns.path))) throw cannotMap(mount.source);
  const below =
    mount.nonRecursive || !info.isDirectory() ? [] : await mountsBelow(mount, bind, table, userns);
  return [{ ...bind, options: [...bind.options, idmapOption(userns.map)] }, ...below];
}

async function mountsBelow(
  mount: WorkloadMount,
  bind: OciMount,
  table: MountTargets,
  userns: UserNamespace,
): Promise<OciMount[]> {
  const source = await realpath(mount.source);
  const prefix = source === '/' ? '/' : `${source}/`;
  const below = [
    ...new Set((await table()).filter((target) => target !== source && target.startsWith(prefix))),
  ];
  if (below.length === 0) return [];
  if (below.length > mostBelow || !(mount.propagation ?? 'rprivate').endsWith('private'))
    throw isleError('idMapUnsupported', {
      why: `${below.length} file systems are mounted below ${mount.source}, and they cannot all be translated: take them one by one, or leave them out (bind-recursive=disabled)`,
    });
  const options = bind.options.filter((option) => option !== 'rbind' && option !== 'rro');
  const readOnly = bind.options.includes('rro') ? ['ro'] : [];
  const mounts = below
    .sort((a, b) => a.length - b.length)
    .map(async (path): Promise<OciMount[]> => {
      // Gone meanwhile.
      const info = await stat(path).catch(() => undefined);
      const mapped = info && (await canMap(path, userns.path).catch(() => false));
      // Namespaces and the like are no files to look at.
      if (!info || !(mapped || info.isDirectory())) return [];
      return [
        {
          destination: `${bind.destination}/${path.slice(prefix.length)}`,
          type: 'bind',
          source: path,
          options: ['bind', ...options, ...readOnly, ...(mapped ? [idmapOption(userns.map)] : [])],
        },
      ];
    });
  return (await Promise.all(mounts)).flat();
}

function cannotMap(source: string) {
  return isleError('idMapUnsupported', {
    why: `owners cannot be translated on the file system of ${source}: take another source (ext4, xfs, btrfs; tmpfs from Linux 6.3 on)`,
  });
}

/**
 * crun's own form, with the map written out: without one it takes that of the process it has just made, which may not
 * have entered its namespace yet when that is not a new one.
 */
function idmapOption({ hostId, size }: IdMap): string {
  const ids = `0-${hostId}-${size}`;
  return `idmap=uids=${ids};gids=${ids}`;
}
