import { messageOf } from '../../../lib/errors.ts';
import type { EngineContext } from '../../context.ts';
import type { Intent } from '../../intents.ts';
import { findMachine } from '../record.ts';
import { addBase, sweepBases } from './bases.ts';
import { dropUseless, openBlocks } from './take.ts';

/**
 * A backup that was being taken when the last daemon ended. One that is in the repository under its name is whole, and
 * counts; of any other nothing stays: no job of QEMU's, no bitmap, no file.
 */
export async function recoverBackup(
  ctx: EngineContext,
  { id, repository: path, backup }: Extract<Intent, { kind: 'backup' }>,
): Promise<void> {
  sweepBases(ctx);
  const whole = await settleFiles(ctx, id, path, backup);
  if (ctx.records.get(id)) {
    if (whole) addBase(ctx, id, backup, []);
    const record = findMachine(ctx, id);
    try {
      await using blocks = await openBlocks(ctx, record);
      await blocks.abandon();
      await dropUseless(ctx, id, blocks);
    } catch (error) {
      // A bitmap that stays costs little, and goes with the next backup.
      ctx.log.warn({ container: id, err: error }, `what a backup left on the disks: ${messageOf(error)}`);
    }
  }
  ctx.intents.done('backup', id);
}

/** What was taken out of sight goes; what was not stays. */
export async function recoverRemoval(
  ctx: EngineContext,
  { id, repository: path }: Extract<Intent, { kind: 'backup-removal' }>,
): Promise<void> {
  await settleFiles(ctx, id, path, '');
  ctx.intents.done('backup-removal', id);
}

/** Whether it is complete. A repository that is not there now (a disk that is not plugged in) is swept by its next backup. */
async function settleFiles(ctx: EngineContext, id: string, path: string, backup: string): Promise<boolean> {
  try {
    const repository = await ctx.backups.open(path, { make: false });
    await repository.sweep(id);
    return (await repository.list()).backups.some((one) => one.id === backup);
  } catch (error) {
    ctx.log.warn({ container: id, err: error }, `what a backup left in ${path}: ${messageOf(error)}`);
    return false;
  }
}
