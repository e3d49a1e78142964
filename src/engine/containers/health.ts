import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../lib/errors.ts';
import { newId } from '../../lib/ids.ts';
import type { EngineContext } from '../context.ts';
import type { Health, HealthCheck, HealthResult } from '../model.ts';
import type { ExecSession } from '../runtime.ts';
import { longestTimer, now } from '../time.ts';
import { publishContainer } from './events.ts';
import type { ContainerRecord } from './record.ts';

/** Docker's defaults, nanoseconds (`docker-engine-api.md`, health). */
const second = 1_000_000_000;
const keptResults = 5;
const keptOutput = 4096;

/** Milliseconds of everything about a check. */
interface Timing {
  interval: number;
  timeout: number;
  startPeriod: number;
  startInterval: number;
  retries: number;
}

/** Probes a running container until the returned function is called. */
export function watchHealth(ctx: EngineContext, record: ContainerRecord): () => void {
  const check = record.healthcheck!;
  const stopped = new AbortController();
  if (record.state.health === undefined)
    setHealth(ctx, record.id, { status: 'starting', failingStreak: 0, log: [] });
  void probeLoop(ctx, record, check, stopped.signal).catch((error: unknown) => {
    if (!stopped.signal.aborted)
      ctx.log.error({ container: record.id, err: error }, `health: ${messageOf(error)}`);
  });
  return () => stopped.abort();
}

async function probeLoop(
  ctx: EngineContext,
  record: ContainerRecord,
  check: HealthCheck,
  stopped: AbortSignal,
): Promise<void> {
  const timing = timingOf(check);
  const startedAt = performance.now();
  for (;;) {
    const starting = performance.now() - startedAt < timing.startPeriod;
    const health = ctx.records.get(record.id)?.state.health;
    const pause = starting && health?.status === 'starting' ? timing.startInterval : timing.interval;
    await sleep(pause, undefined, { signal: stopped, ref: false });
    if (ctx.records.get(record.id)?.state.phase !== 'running') continue; // a paused one is not probed
    const result = await probe(ctx, record, check, timing.timeout, stopped);
    if (stopped.aborted) return;
    note(ctx, record, result, timing, performance.now() - startedAt < timing.startPeriod);
  }
}

function timingOf(check: HealthCheck): Timing {
  const milliseconds = (value: number | undefined, fallback: number) =>
    Math.min((value || fallback) / 1e6, longestTimer);
  return {
    interval: milliseconds(check.interval, 30 * second),
    timeout: milliseconds(check.timeout, 30 * second),
    startPeriod: (check.startPeriod ?? 0) / 1e6,
    startInterval: milliseconds(check.startInterval, 5 * second),
    retries: check.retries || 3,
  };
}

/** Exit code −1 when it took too long or could not be run, as Docker has it. */
async function probe(
  ctx: EngineContext,
  record: ContainerRecord,
  check: HealthCheck,
  timeout: number,
  stopped: AbortSignal,
): Promise<HealthResult> {
  const start = now();
  const result = (exitCode: number, output: string): HealthResult => ({
    start,
    end: now(),
    exitCode,
    output,
  });
  const args = argsOf(ctx, record, check);
  const id = newId();
  const tell = (action: string, more: Record<string, string> = {}) =>
    publishContainer(ctx, record, action, { execID: id, ...more });
  try {
    tell(`exec_create: ${args.join(' ')}`);
    const { env, cwd, user } = record.process;
    const what = { id, args, env, cwd, user, tty: false, stdin: false, privileged: false };
    const session = await ctx.runtimeOf(record).exec(record.id, what);
    tell(`exec_start: ${args.join(' ')}`);
    const output = collect(session);
    const exit = await within(session.exit, timeout, stopped);
    if (exit) {
      tell('exec_die', { exitCode: String(exit.code) });
      // What the probe left running may keep its output open.
      await within(output.ended, drainPatience, stopped);
      return result(exit.code, output.text());
    }
    await endSession(session);
    const why = `Health check exceeded timeout (${timeout >= 1000 ? `${timeout / 1000}s` : `${timeout}ms`})`;
    return result(-1, output.text() === '' ? why : `${why}: ${output.text()}`);
  } catch (error) {
    return result(-1, messageOf(error).slice(0, keptOutput));
  }
}

/** Milliseconds for the output of a probe that has ended. */
const drainPatience = 1000;

/** What `promise` gives within `milliseconds`, else undefined. */
async function within<T>(
  promise: Promise<T>,
  milliseconds: number,
  stopped: AbortSignal,
): Promise<T | undefined> {
  const timer = new AbortController();
  const signal = AbortSignal.any([timer.signal, stopped]);
  const late = sleep(milliseconds, undefined, { signal, ref: false }).catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
    promise.catch(() => {}); // nobody listens any more
  }
}

function argsOf(ctx: EngineContext, record: ContainerRecord, { test }: HealthCheck): string[] {
  if (test[0] === 'CMD') return test.slice(1);
  return [...shellOf(ctx, record), test.slice(1).join(' ')];
}

function shellOf(ctx: EngineContext, record: ContainerRecord): string[] {
  try {
    const { shell } = ctx.images.get(record.imageId).config;
    if (shell && shell.length > 0) return shell;
  } catch {
    // The image may be gone (removed by force): the usual shell then.
  }
  return ['/bin/sh', '-c'];
}

/** The first bytes of what a probe says. The rest is read and dropped, so that it does not block. */
function collect(session: ExecSession): { ended: Promise<void>; text(): string } {
  const parts: Buffer[] = [];
  let size = 0;
  const streams = [session.streams.stdout, session.streams.stderr];
  const ends = streams.map(
    (stream) =>
      new Promise<void>((resolve) => {
        stream.on('data', (chunk: Buffer) => {
          if (size < keptOutput) parts.push(chunk.subarray(0, keptOutput - size));
          size += chunk.length;
        });
        stream
          .once('close', resolve)
          .once('end', resolve)
          .once('error', () => resolve());
      }),
  );
  return {
    ended: Promise.all(ends).then(() => {}),
    text: () => Buffer.concat(parts).toString('utf8'),
  };
}

async function endSession(session: ExecSession): Promise<void> {
  try {
    await session.kill();
  } finally {
    session.streams.close();
  }
}

function note(
  ctx: EngineContext,
  record: ContainerRecord,
  result: HealthResult,
  timing: Timing,
  inStartPeriod: boolean,
): void {
  const current = ctx.records.get(record.id);
  const before = current?.state.health;
  if (!current || !before) return;
  const log = [...before.log, result].slice(-keptResults);
  const health = nextHealth(before, result, timing.retries, inStartPeriod, log);
  ctx.store.transaction(() => {
    setHealth(ctx, record.id, health);
    if (health.status !== before.status) publishContainer(ctx, current, `health_status: ${health.status}`);
  });
}

/** A failure in the start period does not count; a success ends the period. */
function nextHealth(
  before: Health,
  { exitCode }: HealthResult,
  retries: number,
  inStartPeriod: boolean,
  log: HealthResult[],
): Health {
  if (exitCode === 0) return { status: 'healthy', failingStreak: 0, log };
  if (inStartPeriod && before.status === 'starting') return { ...before, log };
  const failingStreak = before.failingStreak + 1;
  return { status: failingStreak >= retries ? 'unhealthy' : before.status, failingStreak, log };
}

function setHealth(ctx: EngineContext, id: string, health: Health): void {
  if (ctx.records.get(id)) ctx.records.changeState(id, { health });
}
