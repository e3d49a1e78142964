import { isIsleError, isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import { parsePruneFilters } from '../prune-filters.ts';
import { isRunning } from './records.ts';
import { removeContainer } from './remove.ts';

/** Removes every container that does not run. Throws `conflict` while another prune works. */
export async function pruneContainers(
  ctx: EngineContext,
  filters: Record<string, string[]>,
): Promise<{ removed: string[]; reclaimed: number }> {
  const { matches } = parsePruneFilters(filters, ['label', 'label!', 'until']);
  if (ctx.pruning.has('containers'))
    throw isleError('conflict', { message: 'a prune operation is already running' });
  ctx.pruning.add('containers');
  try {
    const removed: string[] = [];
    let reclaimed = 0;
    for (const record of ctx.records.all()) {
      const { id, state, labels, createdAt } = record;
      if (isRunning(state) || state.phase === 'restarting' || !matches(labels, createdAt)) continue;
      const { bytes } = await ctx.snapshots.usage(id);
      try {
        await removeContainer(ctx, id, { force: false, volumes: false });
        removed.push(id);
        reclaimed += bytes;
      } catch (error) {
        // Started or removed by somebody else meanwhile: not ours to prune any more.
        if (!isIsleError(error, 'conflict', 'noSuchContainer')) throw error;
      }
    }
    ctx.events.publish('container', 'prune', '', { reclaimed: String(reclaimed) });
    return { removed, reclaimed };
  } finally {
    ctx.pruning.delete('containers');
  }
}
