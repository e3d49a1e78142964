import { chown, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { IdMap } from '../../engine/runtime.ts';
import { errnoOf } from '../../lib/errors.ts';

/** What may be written by whom a cgroup is given to: /sys/kernel/cgroup/delegate, and the directory itself. */
const delegated = [
  '',
  'cgroup.procs',
  'cgroup.threads',
  'cgroup.subtree_control',
  'memory.oom.group',
  'io.prio.class',
];

/**
 * Groups in groups: twelve with the longest names still make a path that can be named, and so removed. systemd in systemd
 * needs eight.
 */
const bounds = { 'cgroup.max.depth': 12, 'cgroup.max.descendants': 4096 };

/**
 * Lets the root of a user namespace make groups of its own below `cgroup` of the unified hierarchy mounted at `unified`
 * ("Model of Delegation", Documentation/admin-guide/cgroup-v2.rst), within bounds. Its own limits stay out of reach: the
 * files that set them are not given away, and a cgroup namespace hides what is above.
 */
export async function delegate(unified: string, cgroup: string, { hostId }: IdMap): Promise<void> {
  const directory = join(unified, cgroup);
  for (const [name, bound] of Object.entries(bounds))
    await writeFile(join(directory, name), String(bound), { flag: 'r+' });
  await Promise.all(
    delegated.map(async (name) => {
      try {
        await chown(join(directory, name), hostId, hostId);
      } catch (error) {
        // Which of them there are depends on the kernel and the controllers.
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
    }),
  );
}
