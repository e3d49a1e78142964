import { chown } from 'node:fs/promises';
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
 * Lets the root of a user namespace make groups of its own below `cgroup` of the unified hierarchy mounted at `unified`
 * ("Model of Delegation", Documentation/admin-guide/cgroup-v2.rst). Its own limits stay out of reach: the files that
 * set them are not given away, and a cgroup namespace hides what is above.
 */
export async function delegate(unified: string, cgroup: string, { hostId }: IdMap): Promise<void> {
  await Promise.all(
    delegated.map(async (name) => {
      try {
        await chown(join(unified, cgroup, name), hostId, hostId);
      } catch (error) {
        // Which of them there are depends on the kernel and the controllers.
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
    }),
  );
}
