import { isIsleError, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { rm } from 'node:fs/promises';
import type { EngineContext } from '../context.ts';
import { dropDisk, refuseWithClones } from '../machines/disks.ts';
import { imageRootsOf } from '../mounts/images.ts';
import { endPending } from './attach.ts';
import { publishContainer } from './events.ts';
import { machineDirOf, stateDirOf } from './paths.ts';
import type { ContainerRecord } from './record.ts';
import { isRunning } from './records.ts';
import { killAndWait } from './stop.ts';

/**
 * Throws `conflict` for one that runs, unless `force`. `volumes`: its anonymous volumes go with it, or its disks: these are gone when
 * it returns, so that what they stand on can be removed next.
 */
export async function removeContainer(
  ctx: EngineContext,
  reference: string,
  options: { force: boolean; volumes: boolean },
): Promise<void> {
  const { id } = ctx.records.find(reference);
  for (;;) {
    if (options.force && (await ctx.starts.giveUp(id)) && ctx.records.get(id) === undefined) return; // auto-remove
    const record = ctx.records.find(id);
    const disks = record.spec.machine?.disks ?? [];
    if (options.volumes) refuseWithClones(ctx, record, disks);
    if (isRunning(record.state)) {
      if (!options.force) throw runningConflict(record);
      await killAndWait(ctx, id);
      if (ctx.records.get(id) === undefined) return; // auto-remove took it
    }
    const removed = await ctx.queue.run(id, async () => {
      const current = ctx.records.get(id);
      if (current === undefined)
        throw isleError('conflict', { message: `removal of container ${reference} is already in progress` });
      if (isRunning(current.state)) {
        if (!options.force) throw runningConflict(current);
        return undefined; // somebody started it meanwhile
      }
      if (current.state.phase === 'restarting' && !options.force) throw runningConflict(current);
      if (options.volumes) refuseWithClones(ctx, current, current.spec.machine?.disks ?? []);
      ctx.restarts.reset(id);
      const { swept } = await removeNow(ctx, current, options);
      // Not waited for here: the queue is the machine's.
      return { swept: options.volumes && disks.length > 0 ? swept : undefined };
    });
    if (removed) return await removed.swept;
  }
}

function runningConflict({ name, state }: ContainerRecord): Error {
  const hint =
    state.phase === 'paused'
      ? 'container is paused and must be unpaused first'
      : `container is ${state.phase}: stop the container before removing or force remove`;
  return isleError('conflict', { message: `cannot remove container "/${name}": ${hint}` });
}

/**
 * Takes the record away, wakes waiters, and leaves the directories to the background with a recorded intent; the
 * caller holds the container's queue and it does not run. `reason`: what ended it, for those who wait. `swept` resolves when the
 * directories are gone, or cannot be removed, which is logged.
 */
export async function removeNow(
  ctx: EngineContext,
  record: ContainerRecord,
  { volumes, reason }: { volumes: boolean; reason?: string },
): Promise<{ swept: Promise<void> }> {
  const { id } = record;
  failpoint('engine.remove.before');
  const gone = volumes ? ctx.volumes.unused(record.anonymousVolumes, id) : [];
  const disks = (record.spec.machine?.disks ?? []).flatMap(({ diskId }) => diskId ?? []);
  const goneDisks = volumes ? disks : [];
  ctx.store.transaction(() => {
    ctx.intents.add({ kind: 'sweep', id, volumes: gone, ...(goneDisks.length > 0 && { disks: goneDisks }) });
    ctx.intents.done('start', id);
    ctx.records.delete(id);
    for (const name of gone) ctx.volumes.forget(name);
    publishContainer(ctx, record, 'destroy');
  });
  failpoint('engine.remove.recorded');
  ctx.restarts.reset(id);
  ctx.execs.forget(id);
  endPending(ctx, id);
  ctx.sizes.delete(id);
  ctx.waiters.removed(id, {
    code: record.state.exitCode,
    ...(reason !== undefined && { error: reason }),
  });
  releaseDisks(ctx, id, disks);
  const sweeping = sweep(ctx, { id, volumes: gone, disks: goneDisks }, imageRootsOf(record));
  ctx.background.run(`sweeping container ${id}`, () => sweeping);
  return { swept: sweeping.catch(() => {}) };
}

/**
 * Removes what is left on the disk of a container whose record is gone. Idempotent. The roots of mounted images are not in
 * the intent: after a crash the snapshots' recovery removes them, as nobody knows them.
 */
export async function sweep(
  ctx: EngineContext,
  { id, volumes, disks = [] }: { id: string; volumes: string[]; disks?: string[] },
  imageRoots: string[] = [],
): Promise<void> {
  failpoint('engine.sweep.before');
  await Promise.all([
    ...[id, ...imageRoots].map((root) => ctx.snapshots.remove(root)),
    rm(stateDirOf(ctx, id), { recursive: true, force: true }),
    rm(machineDirOf(ctx, id), { recursive: true, force: true }),
    ...volumes.map((name) => ctx.volumeFiles.remove(name)),
    dropDisks(ctx, disks),
  ]);
  failpoint('engine.sweep.after');
  ctx.intents.done('sweep', id);
}

/** One that a damaged data root lost must not keep its machine. */
function releaseDisks(ctx: EngineContext, machine: string, disks: string[]): void {
  const there = new Set(disks);
  for (const { id } of ctx.disks.list()) if (there.has(id)) ctx.disks.release(id, machine);
}

/** A disk that a clone came to stand on meanwhile stays in the store. */
async function dropDisks(ctx: EngineContext, disks: string[]): Promise<void> {
  for (const disk of disks) {
    try {
      await dropDisk(ctx, disk);
    } catch (error) {
      if (!isIsleError(error, 'conflict')) throw error;
      ctx.log.warn({ disk, err: error }, `disk ${disk} is kept: ${error.message}`);
    }
  }
}
