import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cgroup } from '../../host/cgroup/cgroup.ts';

/**
 * Whether the kernel killed a process of the workload for want of memory: the cgroup's own counter (which needs
 * nobody to have listened), or the file that conmon leaves.
 */
export async function wasOomKilled(bundle: string, cgroup: Cgroup): Promise<boolean> {
  const [kills, file] = await Promise.all([
    cgroup.oomKills(),
    access(join(bundle, 'oom')).then(
      () => true,
      () => false,
    ),
  ]);
  return kills > 0 || file;
}
