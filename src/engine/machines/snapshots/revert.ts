import { randomUUID } from 'node:crypto';
import { isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { publishContainer } from '../../containers/events.ts';
import { isRunning } from '../../containers/records.ts';
import { launch } from '../../containers/start.ts';
import { endForRestart } from '../../containers/stop.ts';
import type { EngineContext } from '../../context.ts';
import { explainFull } from '../../disk-full.ts';
import type { MachineSnapshot } from '../../machine.ts';
import { snapshotQueue } from '../../snapshots/take.ts';
import { endIncrements } from '../backups/end-increments.ts';
import { dropSavedFile } from '../saved.ts';
import { changeMachine, findMachine, type MachineRecord } from '../record.ts';
import { checkRevert, revertDisks } from './disk-snapshots.ts';
import { findSnapshot } from './names.ts';
import { finishSnapshot } from './recover.ts';

/**
 * Disks, NVRAM, TPM and hardware are again what they were; with memory the guest goes on from it, in a QEMU of its own, so that it
 * learns that it was copied (vmgenid) and makes its randomness anew. What it was before is lost, as its memory is.
 */
export async function revertSnapshot(
  ctx: EngineContext,
  reference: string,
  name: string,
  options: { force: boolean; start: boolean },
): Promise<void> {
  const { id } = findMachine(ctx, reference);
  await ctx.queue.run(snapshotQueue(id), async () => {
    await finishSnapshot(ctx, id);
    const record = findMachine(ctx, id);
    const snapshot = findSnapshot(record, name);
    const up = isRunning(record.state) || record.state.phase === 'restarting';
    if (!options.force) refuseLoss(record, up);
    checkRevert(ctx, { id, hardware: snapshot.hardware }, name);
    ctx.intents.add({ kind: 'machine-revert', id, name, then: nextOf(snapshot, options), disks: 'before' });
    failpoint('machine.revert.begin');
    if (up) {
      try {
        await endForRestart(ctx, id, { signal: 'SIGKILL', timeout: 10 });
      } catch (error) {
        if (!ctx.closing.aborted) ctx.intents.done('machine-revert', id);
        throw error;
      }
    }
    await ctx.queue.run(id, () => goBack(ctx, id));
  });
}

function nextOf({ memory }: MachineSnapshot, { start }: { start: boolean }): 'off' | 'boot' | 'continue' {
  if (memory) return 'continue';
  return start ? 'boot' : 'off';
}

function refuseLoss({ name, state, spec }: MachineRecord, up: boolean): void {
  if (up)
    throw isleError('conflict', {
      message: `the machine "${name}" is ${state.phase}: going back loses what it does now; shut it down first, or say that you mean it (Force)`,
    });
  if (spec.machine.saved)
    throw isleError('conflict', {
      message: `the memory of the machine "${name}" is saved, and would be lost: start it or forget that first, or say that you mean it (Force)`,
    });
}

/** Does what the intent says, from where it is. The caller holds the machine's queue, and it does not run. */
export async function goBack(ctx: EngineContext, id: string): Promise<void> {
  const intent = ctx.intents.get('machine-revert', id);
  if (!intent) return;
  const { name } = intent;
  const record = findMachine(ctx, id);
  // Somebody may have started it meanwhile, before anything was touched.
  if (isRunning(record.state)) {
    ctx.intents.done('machine-revert', id);
    if (intent.disks === 'reverted') return;
    throw isleError('conflict', { message: `cannot go back: the machine "${record.name}" runs again` });
  }
  const after = intent.disks === 'reverted' ? record : await revertOrForget(ctx, record, name);
  try {
    if (intent.then !== 'off') await launch(ctx, after, { restartCount: 0, stoppedByUser: false });
  } finally {
    // What cannot go on from the memory can still boot from the disks.
    if (!ctx.closing.aborted) ctx.intents.done('machine-revert', id);
  }
}

/** Once the record says that it went back, nobody may do so again: what its owner has done with it since would be lost. */
async function revertOrForget(
  ctx: EngineContext,
  record: MachineRecord,
  name: string,
): Promise<MachineRecord> {
  try {
    return await revertNow(ctx, record, name);
  } catch (error) {
    const { id } = record;
    if (ctx.intents.get('machine-revert', id)?.disks === 'reverted' && !ctx.closing.aborted)
      ctx.intents.done('machine-revert', id);
    throw error;
  }
}

async function revertNow(ctx: EngineContext, record: MachineRecord, name: string): Promise<MachineRecord> {
  const { id } = record;
  const snapshot = findSnapshot(record, name);
  try {
    await endIncrements(ctx, record, `it was reverted to the snapshot ${name}`);
    failpoint('machine.revert.before');
    await revertDisks(ctx, { id, hardware: snapshot.hardware }, name);
    failpoint('machine.revert.after');
  } catch (error) {
    // The intent stays: nothing but going back again makes sense of these disks.
    throw explainFull(ctx, error, `reverting machine ${record.name}`);
  }
  const own = new Set(snapshot.hardware.disks.map(({ diskId }) => diskId));
  const given = record.spec.machine.disks.flatMap(({ diskId }) => (own.has(diskId) ? [] : (diskId ?? [])));
  const after = ctx.store.transaction(() => {
    const intent = ctx.intents.get('machine-revert', id);
    if (intent) ctx.intents.add({ ...intent, disks: 'reverted' });
    ctx.restarts.reset(id);
    ctx.records.changeState(id, {
      phase: record.state.phase === 'restarting' ? 'exited' : record.state.phase,
    });
    const changed = changeMachine(ctx, id, ({ snapshots }) => ({
      ...snapshot.hardware,
      generationId: randomUUID(),
      snapshots,
      currentSnapshot: name,
    }));
    publishContainer(ctx, changed, 'snapshot-revert', { snapshot: name });
    return changed;
  });
  // Attached since: they stay in the store.
  const there = new Set(ctx.disks.list().map((disk) => disk.id));
  for (const disk of given) if (there.has(disk)) ctx.disks.release(disk, id);
  for (const disk of own) if (disk !== undefined) ctx.disks.claim(disk, id);
  await dropSavedFile(ctx, id);
  failpoint('machine.revert.recorded');
  return after;
}
