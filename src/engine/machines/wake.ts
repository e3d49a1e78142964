import type { EngineContext } from '../context.ts';
import type { MachineRecord } from './record.ts';

/**
 * Lets a guest go on whose processors alone stand still, for something that an earlier daemon did not live to finish: it is paused
 * altogether, so that it can be resumed altogether.
 */
export async function wake(ctx: EngineContext, { id, ...record }: MachineRecord): Promise<void> {
  const runtime = ctx.runtimeOf(record);
  if (record.state.phase !== 'paused') await runtime.pause(id);
  await runtime.resume(id);
  ctx.records.changeState(id, { phase: 'running' });
}
