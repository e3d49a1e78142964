import type { EngineContext } from '../../context.ts';

/** Bitmaps of more repositories than that are not kept: each of them costs every write a little. */
const mostBases = 4;

/** Backups of a machine whose bitmaps on its disks know every change since. */
export interface BackupBases {
  machine: string;
  /** Their ids, oldest first. */
  ids: string[];
  /** Why earlier ones are worth nothing any more. */
  lost?: string;
}

export function basesOf(ctx: Pick<EngineContext, 'store'>, machine: string): BackupBases {
  return table(ctx).get(machine) ?? { machine, ids: [] };
}

/** A backup has been taken that replaces `before` (in the same repository). */
export function addBase(
  ctx: Pick<EngineContext, 'store'>,
  machine: string,
  id: string,
  before: readonly string[],
): void {
  const ids = [...basesOf(ctx, machine).ids.filter((one) => !before.includes(one) && one !== id), id];
  table(ctx).put(machine, { machine, ids: ids.slice(-mostBases) });
}

/**
 * The disks of `machine` are about to become something else by another way than writes (a snapshot is reverted to): no
 * increment can stand on what has been backed up. Recorded before that happens.
 *
 * @param why for people: 'it was reverted to the snapshot clean'
 */
export function forgetBackups(ctx: Pick<EngineContext, 'store'>, machine: string, why: string): void {
  if (basesOf(ctx, machine).ids.length > 0) table(ctx).put(machine, { machine, ids: [], lost: why });
}

/** They are in no repository any more: their bitmaps go with the next backup. */
export function dropBases(
  ctx: Pick<EngineContext, 'store'>,
  machine: string,
  removed: readonly string[],
): void {
  const bases = table(ctx).get(machine);
  if (bases) table(ctx).put(machine, { ...bases, ids: bases.ids.filter((id) => !removed.includes(id)) });
}

/** Of machines that are gone. */
export function sweepBases(ctx: Pick<EngineContext, 'store' | 'records'>): void {
  for (const { machine } of table(ctx).all()) if (!ctx.records.get(machine)) table(ctx).delete(machine);
}

function table({ store }: Pick<EngineContext, 'store'>) {
  return store.table<BackupBases>('machineBackups');
}
