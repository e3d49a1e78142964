import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isleError } from '../../lib/errors.ts';
import type { Rollback } from '../../lib/rollback.ts';
import { publishContainer } from '../containers/events.ts';
import { machineDirOf } from '../containers/paths.ts';
import { isRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import { changeMachine, findMachine, type MachineRecord } from './record.ts';

/** Where the memory of a machine is that was saved. */
export function savedPathOf(ctx: Pick<EngineContext, 'dataRoot'>, id: string): string {
  return join(machineDirOf(ctx, id), 'saved');
}

/**
 * The machine is about to go on from what was saved. From here on that is worthless: the disks change, and a memory that
 * knows nothing of it would destroy them. A start that fails before anything ran takes it back.
 */
export function spendSaved(ctx: EngineContext, record: MachineRecord, undo: Rollback): void {
  const { id } = record;
  if (!record.spec.machine.saved) return;
  undo.add('saved', () => changeMachine(ctx, id, (machine) => ({ ...machine, saved: true })));
  changeMachine(ctx, id, (machine) => ({ ...machine, saved: undefined }));
}

/** It runs: the file goes. */
export function dropSpent(ctx: EngineContext, record: MachineRecord): void {
  if (!record.spec.machine.saved) return;
  const { id } = record;
  ctx.background.run(`removing what machine ${id} went on from`, () =>
    rm(savedPathOf(ctx, id), { force: true }),
  );
}

/**
 * After a crash, of a machine that was being started: one that never ran goes on from what was saved the next time, too.
 * What may have run does not.
 */
export async function recoverSaved(
  ctx: EngineContext,
  { id, spec }: MachineRecord,
  found: { state: string },
): Promise<void> {
  const path = savedPathOf(ctx, id);
  if (spec.machine.saved || !existsSync(path)) return;
  if (found.state === 'created') changeMachine(ctx, id, (machine) => ({ ...machine, saved: true }));
  else await rm(path, { force: true });
}

/** What the disks know nothing of any more. */
export async function dropSavedFile(ctx: Pick<EngineContext, 'dataRoot'>, id: string): Promise<void> {
  await rm(savedPathOf(ctx, id), { force: true });
}

export async function discardSaved(ctx: EngineContext, reference: string): Promise<void> {
  const { id } = findMachine(ctx, reference);
  await ctx.queue.run(id, async () => {
    const record = findMachine(ctx, id);
    if (!record.spec.machine.saved)
      throw isleError('conflict', { message: `no memory of the machine "${record.name}" is saved` });
    if (isRunning(record.state))
      throw isleError('conflict', { message: `the machine "${record.name}" runs: what was saved is in use` });
    ctx.store.transaction(() => {
      changeMachine(ctx, id, (machine) => ({ ...machine, saved: undefined, savedWith: undefined }));
      publishContainer(ctx, record, 'discard-saved');
    });
    await rm(savedPathOf(ctx, id), { force: true });
  });
}
