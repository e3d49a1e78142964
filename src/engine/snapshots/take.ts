import { isleError } from '../../lib/errors.ts';
import { publishContainer } from '../containers/events.ts';
import { isRunning, titleOf } from '../containers/records.ts';
import { refuseMachine } from '../machines/record.ts';
import type { EngineContext } from '../context.ts';
import type { TakenSnapshot } from '../engine.ts';
import { held } from './hold.ts';
import { nameForSnapshot } from './names.ts';

/** Keeps what a container has written. One that runs holds still meanwhile; nothing is left when it fails. */
export async function takeSnapshot(
  ctx: EngineContext,
  reference: string,
  { name, comment }: { name?: string; comment: string },
): Promise<TakenSnapshot> {
  const found = ctx.records.find(reference);
  refuseMachine(found, 'take a snapshot of', 'whose snapshots are taken by "isle vm snapshot-create"');
  const { id } = found;
  return await ctx.queue.run(snapshotQueue(id), async () => {
    const chosen = nameForSnapshot(ctx.snapshots.saved(ctx.records.find(id).id), name);
    let pausedMs = 0;
    const quietly = async (copy: () => Promise<void>): Promise<void> => {
      pausedMs = await held(ctx, id, copy);
    };
    const saved = await ctx.snapshots.save(id, chosen, {
      comment,
      quietly,
      busy: isRunning(ctx.records.find(id).state),
    });
    const record = ctx.records.get(id);
    if (!record)
      throw isleError('conflict', {
        message: `container ${reference} was removed while its snapshot was taken`,
      });
    ctx.log.debug({ container: id, snapshot: chosen, pausedMs }, `snapshot of ${titleOf(record)}`);
    publishContainer(ctx, record, 'snapshot-create', { snapshot: chosen });
    return { ...saved, pausedMs };
  });
}

/** What is done to a container's snapshots is done one after another, apart from what is done to the container. */
export function snapshotQueue(id: string): string {
  return `snapshot:${id}`;
}
