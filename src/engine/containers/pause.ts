import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { EngineContext } from '../context.ts';
import { publishContainer } from './events.ts';
import { requireRunning } from './records.ts';

export async function pauseContainer(ctx: EngineContext, reference: string): Promise<void> {
  const { id } = ctx.records.find(reference);
  await ctx.queue.run(id, async () => {
    const current = ctx.records.find(id);
    if (current.state.phase === 'paused')
      throw isleError('conflict', { message: `Container ${id} is already paused` });
    const record = requireRunning(ctx.records, id);
    failpoint('engine.pause.before');
    await ctx.runtimeOf(record).pause(id);
    failpoint('engine.pause.after');
    ctx.store.transaction(() =>
      publishContainer(ctx, ctx.records.changeState(id, { phase: 'paused' }), 'pause'),
    );
  });
}

export async function unpauseContainer(ctx: EngineContext, reference: string): Promise<void> {
  const { id } = ctx.records.find(reference);
  await ctx.queue.run(id, async () => {
    const record = ctx.records.find(id);
    if (record.state.phase !== 'paused')
      throw isleError('conflict', { message: `Container ${id} is not paused` });
    failpoint('engine.unpause.before');
    await ctx.runtimeOf(record).resume(id);
    failpoint('engine.unpause.after');
    ctx.store.transaction(() =>
      publishContainer(ctx, ctx.records.changeState(id, { phase: 'running' }), 'unpause'),
    );
  });
}
