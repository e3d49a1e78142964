import { isIsleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import { exclusively, parsePruneFilters } from '../prune-filters.ts';
import { isRunning } from './records.ts';
import { removeContainer } from './remove.ts';

/** Removes every container that does not run. Throws `conflict` while another prune works. */
export async function pruneContainers(
  ctx: EngineContext,
  filters: Record<string, string[]>,
): Promise<{ removed: string[]; reclaimed: number }> {
  const { matches } = parsePruneFilters(filters, ['label', 'label!', 'until']);
  return await exclusively(ctx, 'containers', async () => {
    const removed: string[] = [];
    let reclaimed = 0;
    for (const { id, state, labels, createdAt, spec } of ctx.records.all()) {
      // A machine that is off is not rubbish: it is removed by its name.
      if (spec.machine) continue;
      if (isRunning(state) || state.phase === 'restarting' || !matches(labels, createdAt)) continue;
      const bytes = await bytesOf(ctx, id);
      if (!(await removeUnlessBusy(ctx, id))) continue;
      removed.push(id);
      reclaimed += bytes;
    }
    ctx.events.publish('container', 'prune', '', { reclaimed: String(reclaimed) });
    return { removed, reclaimed };
  });
}

/** With its snapshots, which go with it. */
async function bytesOf(ctx: EngineContext, id: string): Promise<number> {
  const { bytes } = await ctx.snapshots.usage(id);
  return ctx.snapshots.saved(id).reduce((sum, saved) => sum + saved.bytes, bytes);
}

/** False when it was started or removed by somebody else meanwhile: not ours to prune any more. */
async function removeUnlessBusy(ctx: EngineContext, id: string): Promise<boolean> {
  try {
    await removeContainer(ctx, id, { force: false, volumes: false });
    return true;
  } catch (error) {
    if (isIsleError(error, 'conflict', 'noSuchContainer')) return false;
    throw error;
  }
}
