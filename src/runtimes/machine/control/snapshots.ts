import type { MachineSpec } from '../../../engine/machine.ts';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isleError } from '../../../lib/errors.ts';
import { newId } from '../../../lib/ids.ts';
import { setClock } from '../agent/clock.ts';
import { freeze } from '../agent/freeze.ts';
import type { LiveMachine } from '../live-machine.ts';
import { refuseImmovable } from './immovable.ts';
import { pausesOf } from './pauses.ts';
import { snapshotNodes, snapshotsOf, tablePatience } from './snapshot-nodes.ts';

/**
 * All disks and the NVRAM at one moment, inside their qcow2 files; with memory the guest can go on from it. All of them or
 * none. Throws `conflict` for disks that keep no snapshots, a name that is taken, and what cannot be kept with memory.
 */
export async function takeSnapshot(
  live: LiveMachine,
  name: string,
  options: { memory: boolean; quiesce: boolean },
): Promise<{ pausedMs: number; hardware: MachineSpec }> {
  const hardware = live.hardware.spec;
  const nodes = snapshotNodes(hardware);
  const qmp = await live.ownQmp();
  try {
    await refuseTaken(qmp, nodes, name);
    if (!options.memory) return { ...(await takeDisks(live, qmp, nodes, { name, ...options })), hardware };
    if (options.quiesce)
      throw isleError('invalidParameter', {
        message: 'a snapshot with memory needs no quiescing: what the guest has not written yet is in it',
      });
    refuseImmovable(hardware);
    return { ...(await takeAll(qmp, nodes, name)), hardware };
  } finally {
    qmp.close();
  }
}

/** One transaction: every disk is held still until the last of them has its snapshot. */
async function takeDisks(
  live: LiveMachine,
  qmp: Qmp,
  nodes: string[],
  { name, quiesce }: { name: string; quiesce: boolean },
): Promise<{ pausedMs: number }> {
  if (quiesce) return await takeFrozen(live, qmp, nodes, name);
  const actions = nodes.map((device) => ({
    type: 'blockdev-snapshot-internal-sync',
    data: { device, name },
  }));
  const begin = performance.now();
  await qmp.execute('transaction', { actions }, { patience: tablePatience });
  return { pausedMs: performance.now() - begin };
}

/** A guest that did not stay frozen has no snapshot: it would not be what was asked for. */
async function takeFrozen(
  live: LiveMachine,
  qmp: Qmp,
  nodes: string[],
  name: string,
): Promise<{ pausedMs: number }> {
  const begin = performance.now();
  let taken = false;
  try {
    await using _frozen = await freeze(live);
    await takeDisks(live, qmp, nodes, { name, quiesce: false });
    taken = true;
  } catch (error) {
    if (taken) await removeSnapshot(live, name);
    throw error;
  }
  return { pausedMs: performance.now() - begin };
}

async function takeAll(qmp: Qmp, nodes: string[], tag: string): Promise<{ pausedMs: number }> {
  const id = jobId();
  await using pauses = pausesOf(qmp);
  await qmp.job(id, () =>
    qmp.execute('snapshot-save', { 'job-id': id, tag, vmstate: nodes[0], devices: nodes }, slow),
  );
  return { pausedMs: await pauses.total() };
}

/**
 * Goes on from a snapshot that was taken with memory by a machine with the present hardware. Throws `conflict` when it has no
 * memory of it. When QEMU fails in the middle, what was running before is lost: the guest is left stopped.
 */
export async function revertSnapshot(live: LiveMachine, name: string): Promise<void> {
  const nodes = writtenNodes(live);
  const qmp = await live.ownQmp();
  try {
    const vmstate = await nodeWithMemory(qmp, nodes, name);
    const id = jobId();
    await qmp.job(id, () =>
      qmp.execute('snapshot-load', { 'job-id': id, tag: name, vmstate, devices: nodes }, slow),
    );
    await qmp.execute('cont', undefined, slow);
  } finally {
    qmp.close();
  }
  await setClock(live);
}

/** Of those disks that have it; so that it can be called again. */
export async function removeSnapshot(live: LiveMachine, name: string): Promise<void> {
  const qmp = await live.ownQmp();
  try {
    const there = await snapshotsOf(qmp);
    const nodes = writtenNodes(live).filter((node) => there.get(node)?.some((one) => one.name === name));
    if (nodes.length === 0) return;
    const id = jobId();
    await qmp.job(id, () =>
      qmp.execute('snapshot-delete', { 'job-id': id, tag: name, devices: nodes }, slow),
    );
  } finally {
    qmp.close();
  }
}

const slow = { patience: tablePatience };

function jobId(): string {
  return `isle-${newId().slice(0, 12)}`;
}

/** A raw disk that was attached since has none of the snapshots, and stops nobody from removing them. */
function writtenNodes({ hardware: { spec } }: LiveMachine): string[] {
  return snapshotNodes({ ...spec, disks: spec.disks.filter(({ format }) => format === 'qcow2') });
}

async function refuseTaken(qmp: Qmp, nodes: string[], name: string): Promise<void> {
  const there = await snapshotsOf(qmp);
  const taken = nodes.filter((node) => there.get(node)?.some((one) => one.name === name));
  if (taken.length > 0)
    throw isleError('conflict', {
      message: `there is a snapshot "${name}" in ${taken.join(' and ')} already: take another name`,
    });
}

async function nodeWithMemory(qmp: Qmp, nodes: string[], name: string): Promise<string> {
  const there = await snapshotsOf(qmp);
  const has = (node: string) => there.get(node)?.find((one) => one.name === name);
  const missing = nodes.filter((node) => has(node) === undefined);
  if (missing.length > 0)
    throw isleError('conflict', { message: `snapshot "${name}" is not in ${missing.join(', ')}` });
  const [found] = nodes.filter((node) => (has(node)?.stateBytes ?? 0) > 0);
  if (found === undefined)
    throw isleError('conflict', {
      message: `snapshot "${name}" has no memory: the guest cannot go on from it`,
    });
  return found;
}
