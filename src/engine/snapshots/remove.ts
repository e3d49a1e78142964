import { publishContainer } from '../containers/events.ts';
import type { EngineContext } from '../context.ts';
import { checkSnapshotName } from './names.ts';
import { snapshotQueue } from './take.ts';

/** Throws `noSuchSaved`. What was cloned from it stays. */
export async function removeSnapshot(ctx: EngineContext, reference: string, name: string): Promise<void> {
  checkSnapshotName(name);
  const { id } = ctx.records.find(reference);
  await ctx.queue.run(snapshotQueue(id), async () => {
    const record = ctx.records.find(id);
    await ctx.snapshots.removeSaved(id, name);
    publishContainer(ctx, record, 'snapshot-remove', { snapshot: name });
  });
}
