import { access, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Cgroups } from '../../host/cgroup/cgroup.ts';
import type { Layout } from './layout.ts';

/**
 * Groups that a container's `--cgroup-parent` named and nobody had made before: they go with the last container in them. One
 * that was there stays, with the limits that somebody gave it.
 */
export async function noteParents(layout: Layout, cgroups: Cgroups, cgroup: string): Promise<void> {
  for (const path of parentsOf(cgroup)) {
    if (await cgroups.cgroup(path).exists()) return;
    await mkdir(layout.parents, { recursive: true, mode: 0o700 });
    await writeFile(markOf(layout, path), '', { mode: 0o600 });
  }
}

/** After the container's own group is gone. */
export async function removeParents(layout: Layout, cgroups: Cgroups, cgroup: string): Promise<void> {
  for (const path of parentsOf(cgroup)) {
    const mark = markOf(layout, path);
    if (!(await isThere(mark)) || !(await cgroups.cgroup(path).removeEmpty())) return;
    await rm(mark, { force: true });
  }
}

/** Innermost first. */
function parentsOf(cgroup: string): string[] {
  const parents: string[] = [];
  for (let path = dirname(cgroup); path !== '/'; path = dirname(path)) parents.push(path);
  return parents;
}

function markOf(layout: Layout, path: string): string {
  return join(layout.parents, encodeURIComponent(path).slice(0, 250));
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
