import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isleError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { publishContainer } from '../containers/events.ts';
import type { LiveContainer } from '../containers/live.ts';
import { isRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import { explainFull } from '../disk-full.ts';
import type { MachineMoment } from '../machine.ts';
import { snapshotQueue } from '../snapshots/take.ts';
import { endpointsOf, hardwareOf } from './moment.ts';
import { changeMachine, controlOf, findMachine, type MachineRecord } from './record.ts';
import { dropSavedFile, savedPathOf } from './saved.ts';
import { wake } from './wake.ts';

/** Milliseconds for a QEMU that was told to quit. */
const patience = 30_000;

/** Keeps its memory on the disk and ends it; the next start goes on from there. When it fails the guest goes on. */
export async function saveMachine(ctx: EngineContext, reference: string): Promise<void> {
  const { id } = findMachine(ctx, reference);
  await ctx.queue.run(snapshotQueue(id), async () => {
    const live = await ctx.queue.run(id, () => saveNow(ctx, id));
    const late = sleep(patience, 'late' as const, { ref: false });
    if ((await Promise.race([live.ended, late])) === 'late')
      ctx.log.warn({ machine: id }, 'the monitor of a machine that was saved does not end');
  });
}

/** The caller holds the machine's queues. Its end is dealt with when it comes. */
async function saveNow(ctx: EngineContext, id: string): Promise<LiveContainer> {
  const { record, control } = controlOf(ctx, id);
  const live = ctx.live.get(id);
  if (!live) throw isleError('notRunning', { id: record.name });
  const endpoints = endpointsOf(ctx, id);
  const before = { endRequested: live.endRequested, restarting: live.restarting };
  // Neither its restart policy nor auto-remove has a say in this end.
  Object.assign(live, { endRequested: true, restarting: true });
  ctx.intents.add({ kind: 'machine-save', id, endpoints });
  failpoint('machine.save.begin');
  try {
    await dropSavedFile(ctx, id);
    const { hardware } = await control.save(id, savedPathOf(ctx, id));
    failpoint('machine.save.written');
    recordSaved(ctx, record, { hardware: hardwareOf({ snapshots: [], ...hardware }), endpoints });
    return live;
  } catch (error) {
    Object.assign(live, before);
    await dropSavedFile(ctx, id);
    ctx.intents.done('machine-save', id);
    throw explainFull(ctx, error, `saving machine ${record.name}`);
  }
}

function recordSaved(ctx: EngineContext, record: MachineRecord, savedWith: MachineMoment): void {
  const { id } = record;
  ctx.store.transaction(() => {
    changeMachine(ctx, id, (machine) => ({ ...machine, saved: true, savedWith }));
    ctx.records.changeState(id, { stoppedByUser: true });
    ctx.intents.done('machine-save', id);
    publishContainer(ctx, record, 'save');
  });
}

/** After a restart of the daemon: a guest that stood still to be saved goes on; one that ended with its file whole was saved. */
export async function recoverSaves(ctx: EngineContext): Promise<void> {
  for (const intent of ctx.intents.all()) {
    if (intent.kind !== 'machine-save') continue;
    const { id, endpoints } = intent;
    try {
      if (ctx.records.get(id)) await recoverSave(ctx, findMachine(ctx, id), endpoints);
    } catch (error) {
      ctx.log.error({ machine: id, err: error }, `a save that was interrupted: ${messageOf(error)}`);
    }
    ctx.intents.done('machine-save', id);
  }
}

async function recoverSave(
  ctx: EngineContext,
  record: MachineRecord,
  endpoints: MachineMoment['endpoints'],
): Promise<void> {
  const { id, spec, state } = record;
  if (!isRunning(state)) {
    if (existsSync(savedPathOf(ctx, id)))
      recordSaved(ctx, record, { hardware: hardwareOf(spec.machine), endpoints });
    return;
  }
  // First of all: a guest that has gone on must never go on from it again.
  await dropSavedFile(ctx, id);
  await wake(ctx, record);
}
