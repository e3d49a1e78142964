import { failpoint } from '../../../lib/failpoint.ts';
import { isleError } from '../../../lib/errors.ts';
import { publishContainer } from '../../containers/events.ts';
import { isRunning } from '../../containers/records.ts';
import type { EngineContext } from '../../context.ts';
import type { MachineSpec } from '../../machine.ts';
import { snapshotQueue } from '../../snapshots/take.ts';
import { changeMachine, controlOf, findMachine } from '../record.ts';
import { removeFromDisks } from './disk-snapshots.ts';
import { findSnapshot } from './names.ts';
import { finishSnapshot } from './recover.ts';
import { refuseHalfReverted } from './take.ts';

/** Its children become its parent's. */
export async function removeSnapshot(ctx: EngineContext, reference: string, name: string): Promise<void> {
  const { id } = findMachine(ctx, reference);
  await ctx.queue.run(snapshotQueue(id), async () => {
    await finishSnapshot(ctx, id);
    await ctx.queue.run(id, async () => {
      const record = findMachine(ctx, id);
      findSnapshot(record, name);
      refuseHalfReverted(ctx, record);
      if (record.state.phase === 'paused')
        throw isleError('conflict', {
          message: `the machine "${record.name}" is suspended, and cannot be asked to forget a snapshot: resume it first`,
        });
      ctx.intents.add({ kind: 'machine-snapshot', id, name, work: 'remove' });
      failpoint('machine.unsnapshot.before');
      // When it fails in the middle, the next use of the machine's snapshots goes on with it.
      await removeNow(ctx, id, name);
    });
  });
}

/** The caller holds the machine's queue. May be called again. */
export async function removeNow(ctx: EngineContext, id: string, name: string): Promise<void> {
  await removeEverywhere(ctx, id, name);
  failpoint('machine.unsnapshot.after');
  ctx.store.transaction(() => {
    const after = changeMachine(ctx, id, (machine) => withoutSnapshot(machine, name));
    ctx.intents.done('machine-snapshot', id);
    publishContainer(ctx, after, 'snapshot-remove', { snapshot: name });
  });
}

/** From what the machine has, running or not, and from disks that it had when the snapshot was taken. */
export async function removeEverywhere(ctx: EngineContext, id: string, name: string): Promise<void> {
  const { state, spec } = findMachine(ctx, id);
  const { machine } = spec;
  if (isRunning(state)) await controlOf(ctx, id).control.removeSnapshot(id, name);
  const had = machine.snapshots.find((one) => one.name === name)?.hardware.disks ?? [];
  const key = ({ diskId, path }: MachineSpec['disks'][number]) => diskId ?? path;
  const here = isRunning(state) ? machine.disks.filter(({ diskId }) => diskId !== undefined) : machine.disks;
  const others = had.filter((disk) => !machine.disks.some((one) => key(one) === key(disk)));
  await removeFromDisks(
    ctx,
    { id, hardware: { ...machine, disks: [...here, ...others] } },
    name,
    isRunning(state),
  );
}

function withoutSnapshot(machine: MachineSpec, name: string): MachineSpec {
  const gone = machine.snapshots.find((one) => one.name === name);
  if (!gone) return machine;
  const { parent } = gone;
  return {
    ...machine,
    snapshots: machine.snapshots
      .filter((one) => one !== gone)
      .map((one) => (one.parent === name ? { ...one, parent } : one)),
    currentSnapshot: machine.currentSnapshot === name ? parent : machine.currentSnapshot,
  };
}
