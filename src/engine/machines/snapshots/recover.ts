import { messageOf } from '../../../lib/errors.ts';
import { isRunning } from '../../containers/records.ts';
import type { EngineContext } from '../../context.ts';
import { snapshotQueue } from '../../snapshots/take.ts';
import { findMachine } from '../record.ts';
import { removeEverywhere, removeNow } from './remove.ts';
import { goBack } from './revert.ts';

/** What was under way when the last daemon ended: half a snapshot is removed, half a removal finished. May be called at any time. */
export async function finishSnapshot(ctx: EngineContext, id: string): Promise<void> {
  const intent = ctx.intents.get('machine-snapshot', id);
  if (!intent) return;
  if (!ctx.records.get(id)) return ctx.intents.done('machine-snapshot', id);
  await ctx.queue.run(id, async () => {
    if (intent.work === 'remove') return await removeNow(ctx, id, intent.name);
    await removeEverywhere(ctx, id, intent.name);
    ctx.intents.done('machine-snapshot', id);
  });
}

/** After a restart of the daemon, when it is known what runs. Takes its place before anything is started. */
export function recoverSnapshots(ctx: EngineContext): void {
  for (const intent of ctx.intents.all()) {
    const { id } = intent;
    if (intent.kind === 'machine-snapshot')
      inBackground(ctx, id, 'finishing a snapshot', () =>
        ctx.queue.run(snapshotQueue(id), () => finishSnapshot(ctx, id)),
      );
    if (intent.kind === 'machine-revert')
      inBackground(ctx, id, 'going back to a snapshot', () => finishRevert(ctx, id));
  }
}

function inBackground(ctx: EngineContext, id: string, what: string, work: () => Promise<void>): void {
  ctx.background.run(`${what} of machine ${id}`, async () => {
    try {
      await work();
    } catch (error) {
      // The intent stays: the next use of its snapshots tries again.
      ctx.log.error({ machine: id, err: error }, `${what}: ${messageOf(error)}`);
    }
  });
}

async function finishRevert(ctx: EngineContext, id: string): Promise<void> {
  if (!ctx.records.get(id)) return ctx.intents.done('machine-revert', id);
  await ctx.queue.run(id, async () => {
    // Its end had not begun, or it goes on from its snapshot already: either way there is nothing to do.
    if (isRunning(findMachine(ctx, id).state)) return ctx.intents.done('machine-revert', id);
    await goBack(ctx, id);
  });
}
