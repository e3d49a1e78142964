import { setTimeout as sleep } from 'node:timers/promises';
import { unmountImages } from '../mounts/images.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { EngineContext } from '../context.ts';
import type { Exit } from '../runtime.ts';
import { toNanoseconds } from '../time.ts';
import { publishContainer } from './events.ts';
import type { LiveContainer } from './live.ts';
import { detachPod } from './pod-network.ts';
import type { ContainerRecord } from './record.ts';
import { removeNow } from './remove.ts';

/** Deals with the end of a running container whenever it comes. */
export function watchExit(ctx: EngineContext, id: string, live: LiveContainer): void {
  const record = ctx.records.find(id);
  ctx.background.run(`the end of container ${id}`, async () => {
    const exit = await Promise.race([ctx.runtimeOf(record).wait(id), ctx.closed]);
    if (exit === undefined) return; // the engine closes: the workload goes on
    await endAtLast(ctx, id, live, exit);
  });
}

/** Milliseconds until an end that could not be recorded (a full disk) is tried again. */
const retryDelay = 1000;

async function endAtLast(ctx: EngineContext, id: string, live: LiveContainer, exit: Exit): Promise<void> {
  while (!ctx.closing.aborted) {
    try {
      await ctx.queue.run(id, () => endContainer(ctx, id, live, exit));
      return;
    } catch (error) {
      ctx.log.error({ container: id, err: error }, `recording the end: ${messageOf(error)}`);
      await sleep(retryDelay, undefined, { ref: false });
    }
  }
}

/**
 * The order is Docker's: `die`, then network and mounts are given back, then the record says `exited` and waiters
 * wake, then the restart policy or auto-remove has its say. When it throws it can be called again, and goes on
 * where it was.
 */
export async function endContainer(
  ctx: EngineContext,
  id: string,
  live: LiveContainer,
  exit: Exit,
): Promise<void> {
  if (ctx.live.get(id) !== live) return;
  live.stopHelpers();
  ctx.execs.dropUnstarted(id);
  const before = ctx.records.find(id);
  await live.once('die', async () => publishEnd(ctx, before, exit));
  await live.once('release', () => release(ctx, before));
  const ranFor = performance.now() - live.startedAt;
  const delay = live.restarting ? undefined : ctx.restarts.next(before, exit, ranFor, live.endRequested);
  const removes = before.spec.autoRemove && !live.restarting && delay === undefined;
  const ended = ctx.records.changeState(id, {
    phase: delay === undefined ? 'exited' : 'restarting',
    pid: 0,
    exitCode: exit.code,
    error: exit.reason ?? '',
    oomKilled: exit.oomKilled,
    finishedAt: exit.finishedAt,
    // Switched off from inside is as good as stopped from outside. Who was asked to is stopped by whoever asked.
    ...(exit.power === 'off' && !live.endRequested && { stoppedByUser: true }),
  });
  if (removes) await removeNow(ctx, ended, { volumes: true, reason: exit.reason });
  else if (delay === undefined)
    ctx.waiters.exited(id, { code: exit.code, ...(exit.reason !== undefined && { error: exit.reason }) });
  else ctx.restarts.schedule(id, delay);
  ctx.live.delete(id);
  live.settle(exit);
}

function publishEnd(ctx: EngineContext, record: ContainerRecord, exit: Exit): void {
  const ran = toNanoseconds(exit.finishedAt) - toNanoseconds(record.state.startedAt);
  const seconds = ran > 0n ? ran / 1_000_000_000n : 0n;
  ctx.store.transaction(() => {
    if (exit.oomKilled) publishContainer(ctx, record, 'oom');
    publishContainer(ctx, record, 'die', {
      exitCode: String(exit.code),
      execDuration: String(seconds),
      ...(exit.reason !== undefined && { reason: exit.reason }),
    });
  });
}

/** Gives back what only a running container needs. A failure is logged: recovery sweeps what stays. */
export async function release(ctx: EngineContext, record: ContainerRecord): Promise<void> {
  const { id } = record;
  failpoint('engine.release.before');
  const results = await Promise.allSettled([ctx.caretakerOf(record).delete(id), detachPod(ctx, record)]);
  failpoint('engine.release.between');
  results.push(
    ...(await Promise.allSettled([
      ctx.volumes.unmountFor(record),
      record.spec.autoRemove || record.spec.machine ? undefined : ctx.snapshots.unmount(id),
      record.spec.autoRemove ? undefined : unmountImages(ctx, record),
    ])),
  );
  if (results[0]?.status === 'rejected') ctx.unreleased.add(id);
  for (const result of results) {
    if (result.status === 'rejected')
      ctx.log.error({ container: id, err: result.reason }, `giving back: ${messageOf(result.reason)}`);
  }
  ctx.volumes.publishMounts(record, 'unmount');
  failpoint('engine.release.after');
}
