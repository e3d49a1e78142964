import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { Streams } from '../runtime.ts';
import { publishContainer } from './events.ts';
import { PendingStreams } from './pending-streams.ts';
import { isRunning } from './records.ts';

/**
 * The streams of the first process. Before a start they are promised: what a client sends is kept, and they are
 * connected when the process exists, before it runs, so that nothing it says is missed.
 */
export async function attachContainer(ctx: EngineContext, reference: string): Promise<Streams> {
  const record = ctx.records.find(reference);
  const { id, state } = record;
  if (state.phase === 'paused')
    throw isleError('conflict', {
      message: `Container ${id} is paused. Unpause the container before attach.`,
    });
  if (state.phase === 'restarting')
    throw isleError('conflict', {
      message: `Container ${id} is restarting. Wait until the container is running before attach.`,
    });
  publishContainer(ctx, record, 'attach');
  if (isRunning(state)) return await ctx.runtimeOf(record).attach(id);
  const pending = new PendingStreams(record.spec.openStdin, () => ctx.attachments.get(id)?.delete(pending));
  const waiting = ctx.attachments.get(id) ?? new Set();
  ctx.attachments.set(id, waiting.add(pending));
  return pending;
}

/** Connects those who attached before the start; the process exists and does not run yet. */
export async function connectPending(ctx: EngineContext, id: string): Promise<void> {
  const waiting = ctx.attachments.get(id);
  if (!waiting) return;
  ctx.attachments.delete(id);
  const runtime = ctx.runtimeOf(ctx.records.find(id));
  await Promise.all([...waiting].map(async (pending) => pending.connect(await runtime.attach(id))));
}

/** The start failed or the container went: nothing will ever come. */
export function endPending(ctx: EngineContext, id: string): void {
  for (const pending of ctx.attachments.get(id) ?? []) pending.close();
  ctx.attachments.delete(id);
}
