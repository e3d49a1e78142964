import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { publishContainer } from '../containers/events.ts';
import { isRunning, titleOf } from '../containers/records.ts';
import { launch } from '../containers/start.ts';
import { endForRestart } from '../containers/stop.ts';
import { refuseMachine } from '../machines/record.ts';
import type { EngineContext } from '../context.ts';
import { checkSnapshotName } from './names.ts';
import { snapshotQueue } from './take.ts';

/**
 * What the container has written is again what it was. One that runs is refused, unless it may be stopped and started
 * again; it is started again also when restoring failed, with what it had.
 */
export async function restoreSnapshot(
  ctx: EngineContext,
  reference: string,
  name: string,
  options: { restart: boolean; timeout?: number },
): Promise<void> {
  checkSnapshotName(name);
  const found = ctx.records.find(reference);
  refuseMachine(found, 'restore a snapshot of', 'which goes back by "isle vm snapshot-revert"');
  const { id } = found;
  await ctx.queue.run(snapshotQueue(id), async () => {
    const record = ctx.records.find(id);
    if (!ctx.snapshots.saved(id).some((saved) => saved.name === name))
      throw isleError('noSuchSaved', { name, id: record.name });
    const up = isRunning(record.state) || record.state.phase === 'restarting';
    if (up && !options.restart)
      throw isleError('conflict', {
        message: `cannot restore container ${titleOf(record)}: it is ${record.state.phase}; stop it first, or have it stopped and started again (--restart)`,
      });
    if (!up) return await ctx.queue.run(id, () => restoreNow(ctx, id, name));
    ctx.intents.add({ kind: 'restore', id });
    failpoint('engine.restore.begin');
    try {
      await endForRestart(ctx, id, options);
      await ctx.queue.run(id, () => restoreAndStart(ctx, id, name));
    } catch (error) {
      // Its caller hears of it; only what the engine's own end interrupts is the next one's to bring up.
      if (!ctx.closing.aborted) ctx.intents.done('restore', id);
      throw error;
    }
    ctx.intents.done('restore', id);
    publishContainer(ctx, ctx.records.get(id) ?? record, 'restart');
  });
}

/** The caller holds the container's queue. */
async function restoreAndStart(ctx: EngineContext, id: string, name: string): Promise<void> {
  try {
    await restoreNow(ctx, id, name);
  } finally {
    const stopped = ctx.records.get(id);
    if (stopped && !isRunning(stopped.state)) {
      ctx.restarts.reset(id);
      await launch(ctx, stopped, { restartCount: 0, stoppedByUser: false });
    }
  }
}

/** The caller holds the container's queue. */
async function restoreNow(ctx: EngineContext, id: string, name: string): Promise<void> {
  const record = ctx.records.find(id);
  // Somebody may have started it meanwhile.
  if (isRunning(record.state))
    throw isleError('conflict', { message: `cannot restore container ${titleOf(record)}: it runs again` });
  failpoint('engine.restore.before');
  await ctx.roots.alone(id, () => ctx.snapshots.restore(id, name));
  failpoint('engine.restore.after');
  publishContainer(ctx, record, 'snapshot-restore', { snapshot: name });
}

/** After a restart of the daemon: what was stopped to be restored comes up again, restored or as it was. */
export function comeUpAgain(ctx: EngineContext, id: string): void {
  ctx.store.transaction(() => {
    const record = ctx.records.get(id);
    if (record && !ctx.live.has(id) && !isRunning(record.state))
      ctx.records.changeState(id, { phase: 'restarting', stoppedByUser: false });
    ctx.intents.done('restore', id);
  });
}
