import { messageOf } from '../../../lib/errors.ts';
import { isRunning } from '../../containers/records.ts';
import type { EngineContext } from '../../context.ts';
import { controlAny, findMachine } from '../record.ts';
import { wake } from '../wake.ts';

/**
 * After a restart of the daemon: disks of running machines that were on their way into overlays, which the disk store has taken for
 * theirs by now. Each is brought there, and the guest goes on.
 */
export async function recoverPivots(ctx: EngineContext): Promise<void> {
  for (const { kind, id } of ctx.intents.all()) {
    if (kind !== 'machine-pivot') continue;
    try {
      if (ctx.records.get(id) && isRunning(findMachine(ctx, id).state)) await finishPivot(ctx, id);
      ctx.intents.done('machine-pivot', id);
    } catch (error) {
      // It stands still, and what it would write is lost nowhere; the next start of the engine tries again.
      ctx.log.error({ machine: id, err: error }, `a linked clone that was interrupted: ${messageOf(error)}`);
    }
  }
}

async function finishPivot(ctx: EngineContext, id: string): Promise<void> {
  const { record, control } = controlAny(ctx, id);
  const there = new Set(ctx.disks.list().map((disk) => disk.id));
  const overlays = record.spec.machine.disks.flatMap(({ target, diskId, format }) =>
    diskId !== undefined && format === 'qcow2' && there.has(diskId)
      ? [{ target, ...ctx.disks.files(diskId) }]
      : [],
  );
  await control.pivotDisks(id, overlays);
  await wake(ctx, record);
}
