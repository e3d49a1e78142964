import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Resources } from '../../engine/model.ts';
import { run } from '../../host/run.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { MonitorTools } from './conmon.ts';
import type { Container } from './container.ts';
import type { HostLimits } from './host-limits.ts';
import { writeRecord } from './record.ts';
import { resourcesOf } from './spec-resources.ts';
import type { OciResources } from './spec-types.ts';

/**
 * Changes limits of a container. What is not named stays. When the kernel refuses one of them, those set before
 * it are taken back.
 */
export async function updateLimits(
  container: Container,
  changes: Resources,
  host: HostLimits,
  tools: MonitorTools,
): Promise<void> {
  const before = container.record.resources;
  const after = mergeLimits(before, changes);
  const [wanted, old] = await Promise.all([resourcesOf(after, host), resourcesOf(before, host)]);
  const released = releasedLimits(old, wanted);
  failpoint('runtime.update.before');
  const failure = await apply(container, withSwap({ ...released, ...wanted }), tools);
  if (failure !== undefined) {
    if (!container.alive)
      throw isleError('conflict', { message: `container ${container.id} is not running` });
    await apply(container, withSwap({ ...releasedLimits(wanted, old), ...old }), tools);
    throw isleError('invalidParameter', { message: `cannot update the limits: ${failure}` });
  }
  failpoint('runtime.update.after');
  container.record.resources = after;
  await writeRecord(container.bundle, container.record);
}

/** A new way to limit the CPU replaces the other one, and a memory limit its own swap limit. */
function mergeLimits(before: Resources, changes: Resources): Resources {
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const merged: Resources = { ...before, ...given };
  if (changes.nanoCpus && before.nanoCpus === undefined) {
    if (before.cpuQuota || before.cpuPeriod) throw conflict('NanoCPUs', 'CPU Quota or Period');
  } else if ((changes.cpuQuota || changes.cpuPeriod) && before.nanoCpus)
    throw conflict('CPU Quota or Period', 'NanoCPUs');
  return merged;
}

/** The kernel's PID_MAX_LIMIT: no host has more processes, and crun 1.8 cannot write `max`. */
const everyPid = 4_194_304;

/** Unlimited, for each kind of limit that was set and is no longer. */
function releasedLimits(old: OciResources, wanted: OciResources): OciResources {
  const released: OciResources = {};
  if (old.memory && !wanted.memory) released.memory = { limit: -1 };
  if (old.pids && !wanted.pids) released.pids = { limit: everyPid };
  if (old.cpu && !wanted.cpu) released.cpu = { quota: -1 };
  return released;
}

/** crun writes the limit before the swap limit, and turns round when the kernel refuses: both must be named. */
function withSwap(resources: OciResources): OciResources {
  const { memory } = resources;
  if (memory?.limit === undefined || memory.swap !== undefined || memory.limit > 0) return resources;
  return { ...resources, memory: { ...memory, swap: -1 } };
}

async function apply(
  container: Container,
  resources: OciResources,
  tools: MonitorTools,
): Promise<string | undefined> {
  const path = join(container.bundle, 'update.json');
  try {
    await writeFile(path, JSON.stringify(resources), { mode: 0o600 });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'it is being removed';
    throw error;
  }
  const result = await run(tools.runtime, [
    `--root=${tools.state}`,
    'update',
    '--resources',
    path,
    container.id,
  ]);
  return result.code === 0 ? undefined : result.stderr.trim().split('\n').at(-1);
}

function conflict(asked: string, set: string) {
  return isleError('invalidParameter', {
    message: `Conflicting options: ${asked} cannot be updated as ${set} has already been set`,
  });
}
