import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cgroup } from '../../host/cgroup/cgroup.ts';
import { pidfdSignal, watchPid } from '../../host/pidfd.ts';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { Container } from './container.ts';
import type { Layout } from './layout.ts';
import { removeTree } from './remove-tree.ts';
import { unstageAll } from './staging.ts';
import { processesOf } from './monitor-process.ts';

/** Milliseconds for a killed container's monitor to write its exit. */
const patience = 10_000;

/** Ends every process of a container that this process watches. */
export async function killContainer(container: Container): Promise<void> {
  await container.doom();
  const { ownPids } = container.record;
  if (container.ended && ownPids) return;
  // A frozen process takes its SIGKILL only when it thaws; without a pid namespace of its own the others stay.
  if (!ownPids || (await container.cgroup.frozen())) await container.cgroup.kill();
  container.signal(9);
  await within(patience, container.exit, container.id);
}

/**
 * Ends what a crash left of `id`: monitors, the OCI runtime at work, and a first process that has not come as far
 * as its cgroup. They make each other, so this looks again until there is none.
 */
export async function killRemains(bundle: string, cgroup: Cgroup): Promise<void> {
  const end = performance.now() + patience;
  for (;;) {
    const found = await processesOf(bundle);
    if (found.length === 0) break;
    if (performance.now() > end)
      throw isleError('internal', {
        message: `processes ${found.map(({ pid }) => pid).join()} cannot be killed`,
      });
    for (const { pid, startTime } of found) pidfdSignal(pid, startTime, 9);
    await Promise.all(found.map(({ pid, startTime }) => watchPid(pid, startTime)));
  }
  await cgroup.kill();
}

/**
 * Removes everything `create` made. The OCI runtime's own `delete` would do the same in a process of its own (8 ms).
 * `leftovers` finds each part by itself; only the bundle knows of a cgroup with an unusual parent, and goes after it.
 */
export async function removeFiles(layout: Layout, id: string, cgroup: Cgroup): Promise<void> {
  failpoint('runtime.remove.before');
  const usual = cgroup.path === layout.cgroup(id, '');
  const removed = cgroup.remove();
  if (!usual) await removed;
  await unstageAll(layout.bundle(id));
  await Promise.all([
    removed,
    ...[join(layout.state, id), layout.bundle(id)].map(removeTree),
    rm(join(layout.exits, id), { force: true }),
  ]);
  failpoint('runtime.remove.after');
}

async function within(milliseconds: number, done: Promise<unknown>, id: string): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(isleError('internal', { message: `container ${id} did not end when it was killed` })),
    milliseconds,
  );
  try {
    await Promise.race([done, promise]);
  } finally {
    clearTimeout(timer);
  }
}
