import { publishContainer } from '../containers/events.ts';
import { refuseMachine } from '../machines/record.ts';
import type { EngineContext } from '../context.ts';
import { checkSnapshotName } from './names.ts';
import { snapshotQueue } from './take.ts';

/** Throws `noSuchSaved`. What was cloned from it stays. */
export async function removeSnapshot(ctx: EngineContext, reference: string, name: string): Promise<void> {
  checkSnapshotName(name);
  const found = ctx.records.find(reference);
  refuseMachine(found, 'remove a snapshot of', 'whose snapshots are removed by "isle vm snapshot-delete"');
  const { id } = found;
  await ctx.queue.run(snapshotQueue(id), async () => {
    const record = ctx.records.find(id);
    await ctx.snapshots.removeSaved(id, name);
    publishContainer(ctx, record, 'snapshot-remove', { snapshot: name });
  });
}
