import { setTimeout as sleep } from 'node:timers/promises';
import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { Ending } from '../runtime.ts';
import { longestTimer } from '../time.ts';
import { publishContainer } from './events.ts';
import type { LiveContainer } from './live.ts';
import type { ContainerRecord } from './record.ts';
import { isRunning, titleOf } from './records.ts';
import { parseSignal } from './signals.ts';
import { launch } from './start.ts';

const sigkill = 9;
const sigterm = 15;
/** Milliseconds after which a SIGKILL that showed no effect is an error (a process in an uninterruptible call). */
const killPatience = 15_000;

export interface StopOptions {
  /** The engine stops it, not the user: it may come up with the engine again. */
  comesBack?: boolean;
  timeout?: number;
  signal?: string;
}

/** False when it did not run. Waiting holds no queue: a `kill` gets through meanwhile. */
export async function stopContainer(
  ctx: EngineContext,
  reference: string,
  options: StopOptions,
): Promise<boolean> {
  const record = ctx.records.find(reference);
  const { id } = record;
  const signal =
    options.signal === undefined || options.signal === '' ? undefined : parseSignal(options.signal);
  if (await ctx.starts.giveUp(id)) {
    publishContainer(ctx, ctx.records.get(id) ?? record, 'stop');
    return true;
  }
  const stoppedByUser = !options.comesBack || record.state.stoppedByUser;
  if (await stopRestarting(ctx, id, stoppedByUser)) return true;
  const current = ctx.records.find(id);
  const live = ctx.live.get(id);
  if (!isRunning(current.state) || !live) return false;
  live.endRequested = true;
  ctx.records.changeState(id, { stoppedByUser });
  await endProcess(ctx, current, live, { ...options, signal });
  const after = ctx.records.get(id) ?? current;
  publishContainer(ctx, after, 'stop');
  return true;
}

/** A container between two tries of its restart policy is stopped by dropping the next one. */
async function stopRestarting(ctx: EngineContext, id: string, stoppedByUser = true): Promise<boolean> {
  return await ctx.queue.run(id, async () => {
    const record = ctx.records.find(id);
    if (record.state.phase !== 'restarting') return false;
    ctx.restarts.reset(id);
    ctx.records.changeState(id, { phase: 'exited', stoppedByUser });
    ctx.waiters.exited(id, { code: record.state.exitCode });
    publishContainer(ctx, record, 'stop');
    return true;
  });
}

export async function restartContainer(
  ctx: EngineContext,
  reference: string,
  options: StopOptions,
): Promise<void> {
  const { id } = ctx.records.find(reference);
  const record = await endForRestart(ctx, id, options);
  await ctx.queue.run(id, async () => {
    const current = ctx.records.find(id);
    if (isRunning(current.state)) return;
    ctx.restarts.reset(id);
    await launch(ctx, current, { restartCount: 0, stoppedByUser: false });
  });
  publishContainer(ctx, ctx.records.get(id) ?? record, 'restart');
}

/** The first half of a restart: neither the restart policy nor auto-remove has a say in this end. */
export async function endForRestart(
  ctx: EngineContext,
  id: string,
  options: StopOptions,
): Promise<ContainerRecord> {
  const signal =
    options.signal === undefined || options.signal === '' ? undefined : parseSignal(options.signal);
  await ctx.starts.giveUp(id);
  await stopRestarting(ctx, id);
  const record = ctx.records.find(id);
  const live = ctx.live.get(id);
  if (isRunning(record.state) && live) {
    live.restarting = true;
    live.endRequested = true;
    await endProcess(ctx, record, live, { ...options, signal });
  }
  return record;
}

export async function killContainer(
  ctx: EngineContext,
  reference: string,
  signalText: string | undefined,
): Promise<void> {
  const record = ctx.records.find(reference);
  const { id } = record;
  const signal = signalText === undefined || signalText === '' ? sigkill : parseSignal(signalText);
  const live = ctx.live.get(id);
  if (endsBoot.has(signal) && (await ctx.starts.giveUp(id)))
    return publishContainer(ctx, ctx.records.get(id) ?? record, 'kill', { signal: String(signal) });
  if (!isRunning(record.state) || !live) {
    throw isleError('conflict', {
      message: `cannot kill container: ${reference}: container ${id} is not running`,
    });
  }
  const ends = signal === sigkill || signal === (await endingOf(ctx, record)).signal;
  if (ends) {
    live.endRequested = true;
    ctx.records.changeState(id, { stoppedByUser: true });
  }
  await ctx.runtimeOf(record).signal(id, signal);
  if (signal === sigkill) await wakeFrozen(ctx, id);
  publishContainer(ctx, ctx.records.get(id) ?? record, 'kill', { signal: String(signal) });
  if (signal === sigkill) await Promise.race([live.ended, sleep(killPatience, undefined, { ref: false })]);
}

/** HUP, INT, QUIT, KILL and TERM: what a client sends that wants it down. There is no process yet that could ignore them. */
const endsBoot = new Set([1, 2, 3, sigkill, sigterm]);

/** Ends a running container at once and waits until the end has been dealt with. */
export async function killAndWait(ctx: EngineContext, id: string): Promise<void> {
  const live = ctx.live.get(id);
  const record = ctx.records.find(id);
  if (!live) return;
  live.endRequested = true;
  ctx.store.transaction(() => publishContainer(ctx, record, 'kill', { signal: String(sigkill) }));
  await killNow(ctx, record, live);
}

async function endProcess(
  ctx: EngineContext,
  record: ContainerRecord,
  live: LiveContainer,
  asked: { signal: number | undefined; timeout?: number },
): Promise<void> {
  const { id } = record;
  const ending = await endingOf(ctx, record);
  const signal = asked.signal ?? ending.signal;
  const seconds = asked.timeout ?? record.spec.stopTimeout ?? ending.timeout;
  publishContainer(ctx, record, 'kill', { signal: String(signal) });
  await trySignal(ctx, record, signal);
  await wakeFrozen(ctx, id);
  if (seconds < 0) {
    await live.ended;
    return;
  }
  const timer = new AbortController();
  const patience = Math.min(seconds * 1000, longestTimer);
  const late = sleep(patience, 'late' as const, { signal: timer.signal }).catch(() => undefined);
  const outcome = await Promise.race([live.ended, late]);
  timer.abort();
  if (outcome !== 'late') return;
  publishContainer(ctx, record, 'kill', { signal: String(sigkill) });
  await killNow(ctx, record, live);
}

async function killNow(ctx: EngineContext, record: ContainerRecord, live: LiveContainer): Promise<void> {
  await trySignal(ctx, record, sigkill);
  await wakeFrozen(ctx, record.id);
  const timer = new AbortController();
  const late = sleep(killPatience, 'late' as const, { signal: timer.signal }).catch(() => undefined);
  const outcome = await Promise.race([live.ended, late]);
  timer.abort();
  if (outcome === 'late') {
    const message = `container ${titleOf(record)} did not end ${killPatience / 1000} seconds after SIGKILL: a process in it is stuck in the kernel`;
    throw isleError('internal', { message });
  }
}

/** A signal to a process that ended a moment ago is no failure: its end is being dealt with. */
async function trySignal(ctx: EngineContext, record: ContainerRecord, signal: number): Promise<void> {
  try {
    await ctx.runtimeOf(record).signal(record.id, signal);
  } catch (error) {
    ctx.log.debug({ container: record.id, err: error }, 'signal not delivered');
  }
}

/** A frozen process gets its signals only when it thaws. */
async function wakeFrozen(ctx: EngineContext, id: string): Promise<void> {
  const record = ctx.records.get(id);
  if (record?.state.phase !== 'paused') return;
  await ctx.runtimeOf(record).resume(id);
  // It may have ended, or somebody else woken it, meanwhile.
  if (ctx.records.get(id)?.state.phase !== 'paused') return;
  ctx.records.changeState(id, { phase: 'running' });
  publishContainer(ctx, record, 'unpause');
}

/** What the container says, else what its runtime knows of its init, else Docker's usual. */
async function endingOf(ctx: EngineContext, record: ContainerRecord): Promise<Ending> {
  const own = await ctx
    .runtimeOf(record)
    .ending?.(record.id)
    .catch(() => undefined); // It ended meanwhile.
  return {
    signal: signalOf(record.stopSignal) ?? own?.signal ?? sigterm,
    timeout: Math.max(own?.timeout ?? 0, ctx.defaults.stopTimeout),
  };
}

/** Undefined for an image's StopSignal that names none. */
function signalOf(text: string): number | undefined {
  try {
    return text === '' ? undefined : parseSignal(text);
  } catch {
    return undefined;
  }
}
