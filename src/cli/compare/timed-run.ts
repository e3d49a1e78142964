import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../client/errors.ts';
import type { Bench } from './bench.ts';
import { untilBooted } from './boot.ts';
import { type Capture, captureContainer, startExec } from './capture.ts';
import { footprintOf } from './footprint.ts';
import type { Isolation } from './isolations.ts';
import type { Footprint } from './footprint.ts';
import { addressOf, type Peer } from './peer.ts';
import { entersLater, type Plan, workloadBody } from './plan.ts';

/** What one run of the workload took: monotonic milliseconds since the request, unless said otherwise. */
export interface RunTimes {
  started: number;
  firstOutput?: number;
  listening?: number;
  /** It ended by itself. */
  ended?: number;
  exitCode?: number;
  healthy?: number;
  /** The system inside was up. */
  booted?: number;
  /** From the request to stop it. */
  stop?: number;
  ignoredStop?: boolean;
  footprint?: Footprint;
  /** Bytes of its writable layer at the end. */
  writable: number;
  lastLine: string;
}

export interface RunOptions {
  /** Milliseconds to wait for a sign of life. */
  patience: number;
  /** Seconds between the stop signal and the kill. */
  stopTimeout: number;
  /** It will end by itself (known from an earlier run): wait for that; undefined: find out. */
  oneShot?: boolean;
  /** Leave its stop signal out: it is known to be ignored. */
  kill?: boolean;
  /** Wait for the image's health check, too. */
  health?: boolean;
}

/** Milliseconds in which a one-shot is expected to end after its first output. */
const soon = 400;
/** Milliseconds before its memory is looked at: what it does first is done. */
const settling = 150;

/** Runs the workload once in an isolation, from the request to its removal. */
export async function timedRun(
  bench: Bench,
  peer: Peer,
  plan: Plan,
  isolation: Isolation,
  options: RunOptions,
): Promise<RunTimes> {
  const health = options.health ? eager(options.patience) : undefined;
  const body = workloadBody(plan, isolation, health ? { health } : {});
  const later = entersLater(plan, isolation);
  const from = performance.now();
  const since = (at: number | undefined) => (at === undefined ? undefined : at - from);
  const id = await bench.create(isolation.name, body);
  let capture: Capture | undefined;
  try {
    if (!later) capture = await captureContainer(bench.client, id);
    await bench.start(id);
    const started = performance.now() - from;
    capture ??= (await startExec(bench.client, id, plan.command)).capture;

    const { listening } = await signOfLife(bench, peer, plan, id, capture, options);
    const ended = await endOf(bench, capture, listening, options);
    const times: RunTimes = { started, writable: 0, lastLine: capture.lastLine };
    assign(times, 'firstOutput', since(capture.firstByteAt));
    assign(times, 'listening', since(listening));
    assign(times, 'ended', since(ended));
    if (options.health && ended === undefined)
      assign(times, 'healthy', since(await healthy(bench, id, options)));

    // An init that has not come up yet does not know its stop signal.
    if (isolation.name === 'system' && (later || ended === undefined))
      assign(times, 'booted', since(await untilBooted(bench, id)));
    // Its output ends a moment before it does.
    if (ended !== undefined && !later) await untilStopped(bench, id);
    const state = await stateOf(bench, id);
    if (state.running && ended === undefined) {
      await bench.unlessAborted(sleep(settling));
      times.footprint = await footprintOf(bench, id);
    }
    if (!state.running) times.exitCode = state.exitCode;
    if (state.running) Object.assign(times, await stop(bench, id, options));
    times.writable = await writableSize(bench, id);
    return times;
  } finally {
    capture?.close();
    await bench.remove(id);
  }
}

/** Waits for the first output, or where it has a port, for that to be open; or for its end; or until patience is over. */
async function signOfLife(
  bench: Bench,
  peer: Peer,
  plan: Plan,
  id: string,
  capture: Capture,
  { patience }: RunOptions,
): Promise<{ listening: number | undefined }> {
  const [port] = plan.workload.ports;
  const timer = new AbortController();
  const late = sleep(patience, undefined, { signal: timer.signal }).catch(() => undefined);
  try {
    const address = port === undefined || !peer.address ? undefined : await addressOf(bench, id);
    if (port === undefined || address === undefined) {
      await bench.unlessAborted(Promise.race([capture.firstByte, capture.ended, late]));
      return { listening: undefined };
    }
    const opened = peer.listening(address, port, patience);
    const listening = await bench.unlessAborted(
      Promise.race([opened, capture.ended.then(() => undefined), late.then(() => undefined)]),
    );
    return { listening };
  } finally {
    timer.abort();
  }
}

/** The moment of its end, where it ends by itself. */
async function endOf(
  bench: Bench,
  capture: Capture,
  listening: number | undefined,
  { oneShot, patience }: RunOptions,
): Promise<number | undefined> {
  if (oneShot === false || listening !== undefined) return undefined;
  const timer = new AbortController();
  const late = sleep(oneShot ? patience : soon, undefined, { signal: timer.signal }).catch(() => undefined);
  const ended = capture.ended.then(() => performance.now());
  try {
    return await bench.unlessAborted(Promise.race([ended, late.then(() => undefined)]));
  } finally {
    timer.abort();
  }
}

/** Checks ten times a second from the start, until it is healthy. */
function eager(patience: number): Record<string, unknown> {
  return { StartPeriod: patience * 1e6, StartInterval: 100e6 };
}

interface State {
  running: boolean;
  exitCode: number;
  health?: string;
}

async function stateOf(bench: Bench, id: string): Promise<State> {
  const { State: state } = await bench.client.get<{
    State: { Running: boolean; ExitCode: number; Health?: { Status: string } | null };
  }>(`/containers/${id}/json`);
  return {
    running: state.Running,
    exitCode: state.ExitCode,
    ...(state.Health && { health: state.Health.Status }),
  };
}

async function healthy(bench: Bench, id: string, { patience }: RunOptions): Promise<number | undefined> {
  const until = performance.now() + patience;
  while (performance.now() < until) {
    const { running, health } = await stateOf(bench, id);
    if (health === 'healthy') return performance.now();
    if (!running || health === undefined) return undefined;
    await bench.unlessAborted(sleep(20));
  }
  return undefined;
}

async function stop(
  bench: Bench,
  id: string,
  { kill, stopTimeout }: RunOptions,
): Promise<Pick<RunTimes, 'stop' | 'ignoredStop'>> {
  const from = performance.now();
  if (kill) {
    await killNow(bench, id);
    return { stop: performance.now() - from, ignoredStop: true };
  }
  await bench.unlessAborted(bench.client.post(`/containers/${id}/stop`, { query: { t: stopTimeout } }));
  const took = performance.now() - from;
  if (took < stopTimeout * 1000) return { stop: took };
  return { ignoredStop: true };
}

/** Kills, and waits until it has ended. */
async function killNow(bench: Bench, id: string): Promise<void> {
  const ended = untilStopped(bench, id);
  ended.catch(() => {});
  try {
    await bench.client.post(`/containers/${id}/kill`);
  } catch (error) {
    // It ended in between.
    if (!(error instanceof ApiError && error.status === 409)) throw error;
  }
  await ended;
}

async function untilStopped(bench: Bench, id: string): Promise<void> {
  const query = { condition: 'not-running' };
  await bench.unlessAborted(bench.client.post(`/containers/${id}/wait`, { query }));
}

async function writableSize(bench: Bench, id: string): Promise<number> {
  const answer = await bench.client.get<{ SizeRw?: number }>(`/containers/${id}/json`, { size: true });
  return answer.SizeRw ?? 0;
}

function assign<K extends 'firstOutput' | 'listening' | 'ended' | 'healthy' | 'booted'>(
  times: RunTimes,
  key: K,
  value: number | undefined,
): void {
  if (value !== undefined) times[key] = value;
}
