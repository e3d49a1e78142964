import { isleError } from '../../lib/errors.ts';
import { type MountEntry, mountTable } from '../mount.ts';
import type { Cgroups } from './cgroup.ts';
import { openV1, type V1Layout } from './v1.ts';
import { openV2 } from './v2.ts';

/** Finds how this host's control groups are mounted. Throws `unavailable` when none are. */
export async function detectCgroups(): Promise<Cgroups> {
  return openCgroups(await mountTable());
}

/**
 * {@link detectCgroups} from a given mount table. A cgroup2 on /sys/fs/cgroup itself makes a unified host, even when
 * somebody mounted a stray v1 controller elsewhere; crun decides the same way.
 */
export async function openCgroups(table: readonly MountEntry[]): Promise<Cgroups> {
  const unified = firstTarget(table, (entry) => entry.type === 'cgroup2');
  const top = table.filter((entry) => entry.target === '/sys/fs/cgroup').at(-1);
  if (top?.type === 'cgroup2') return openV2(top.target);
  const layout = v1Layout(table);
  if (layout.controllers.size > 0) return openV1(layout);
  if (unified !== undefined) return openV2(unified);
  throw isleError('unavailable', {
    message: 'control groups are not mounted: mount cgroup2 on /sys/fs/cgroup (see isle doctor)',
  });
}

function v1Layout(table: readonly MountEntry[]): V1Layout {
  const controllers = new Map<string, string>();
  const named = new Set<string>();
  for (const entry of table) {
    if (entry.type !== 'cgroup') continue;
    const name = entry.superOptions.find((option) => option.startsWith('name='));
    const own = entry.superOptions.filter((option) => known.has(option));
    // One hierarchy may be mounted in several places: the usual one is preferred.
    for (const controller of own)
      if (!controllers.has(controller) || entry.target.startsWith('/sys/fs/cgroup/'))
        controllers.set(controller, entry.target);
    if (own.length === 0 && name !== undefined && entry.target.startsWith('/sys/fs/cgroup/'))
      named.add(entry.target);
  }
  const unified = firstTarget(table, (entry) => entry.type === 'cgroup2');
  if (unified !== undefined) named.add(unified);
  return { controllers, named: [...named], unified };
}

function firstTarget(
  table: readonly MountEntry[],
  matches: (entry: MountEntry) => boolean,
): string | undefined {
  const found = table.filter(matches).map((entry) => entry.target);
  return found.find((target) => target.startsWith('/sys/fs/cgroup')) ?? found[0];
}

const known = new Set([
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'pids',
  'devices',
  'freezer',
  'blkio',
  'hugetlb',
  'net_cls',
  'net_prio',
  'perf_event',
  'rdma',
  'misc',
]);
