import { mkdir, rm } from 'node:fs/promises';
import { isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { newId } from '../../../lib/ids.ts';
import { Rollback } from '../../../lib/rollback.ts';
import { publishContainer } from '../../containers/events.ts';
import { machineDirOf, stateDirOf } from '../../containers/paths.ts';
import { takeIdMap } from '../../containers/user-namespace.ts';
import type { EngineContext } from '../../context.ts';
import { explainFull } from '../../disk-full.ts';
import type { MachineCloneOptions } from '../../machines.ts';
import { refuseTakenPorts } from '../../snapshots/clone.ts';
import { snapshotQueue } from '../../snapshots/take.ts';
import { findMachine, type MachineRecord } from '../record.ts';
import { findSnapshot } from '../snapshots/names.ts';
import { finishSnapshot } from '../snapshots/recover.ts';
import { refuseHalfReverted } from '../snapshots/take.ts';
import { cloneRecord } from './clone-record.ts';
import { copyDisks, type DiskPair, planDisks } from './disks.ts';

/**
 * Another machine with the settings and disks of `reference`, now or in a snapshot, but somebody else: own id, name, UUID, MAC
 * addresses, instance id, NVRAM, an empty TPM. `linked`: its disks stand on those of the source, as they are now.
 */
export async function cloneMachine(
  ctx: EngineContext,
  reference: string,
  options: MachineCloneOptions,
): Promise<{ id: string; warnings: string[] }> {
  const { id: sourceId } = findMachine(ctx, reference);
  if (options.linked && options.snapshot !== undefined)
    throw isleError('invalidParameter', {
      message: 'a clone of a snapshot is a full one: a linked one stands on what the disks are now',
    });
  return await ctx.queue.run(snapshotQueue(sourceId), async () => {
    await finishSnapshot(ctx, sourceId);
    const source = findMachine(ctx, sourceId);
    refuseHalfReverted(ctx, source);
    if (options.snapshot !== undefined) findSnapshot(source, options.snapshot);
    if (options.ports) refuseTakenPorts(source);
    const runtime = await ctx.runtimes.require(source.runtimeName);
    const id = newId();
    const name = ctx.records.reserve(options.name, id);
    try {
      using taken = await takeIdMap(ctx, runtime, source.spec);
      const pairs = planDisks(ctx, source, { ...options, name });
      const { record, warnings } = cloneRecord(source, pairs, { ...options, id, name, idMap: taken?.map });
      await makeClone(ctx, source, record, pairs, options);
      const about = { clone: id, cloneName: name };
      publishContainer(
        ctx,
        source,
        'clone',
        options.snapshot === undefined ? about : { ...about, snapshot: options.snapshot },
      );
      return { id, warnings };
    } catch (error) {
      ctx.records.release(name, id);
      throw explainFull(ctx, error, `cloning machine ${source.name}`);
    }
  });
}

async function makeClone(
  ctx: EngineContext,
  source: MachineRecord,
  record: MachineRecord,
  pairs: DiskPair[],
  options: MachineCloneOptions,
): Promise<void> {
  const { id } = record;
  const made = pairs.flatMap(({ to }) => to ?? []);
  await using undo = new Rollback();
  ctx.intents.add({ kind: 'create', id, volumes: [], disks: made });
  undo.add('intent', () => ctx.intents.done('create', id));
  failpoint('machine.clone.begin');
  for (const directory of [stateDirOf(ctx, id), machineDirOf(ctx, id)]) {
    undo.add('directory', () => rm(directory, { recursive: true, force: true }));
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  await copyDisks(ctx, source, id, pairs, options, undo);
  failpoint('machine.clone.made');
  ctx.store.transaction(() => {
    ctx.records.put(record);
    ctx.intents.done('create', id);
    publishContainer(ctx, record, 'create');
  });
  undo.keep();
}
