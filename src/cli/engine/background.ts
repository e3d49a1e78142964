import { type ChildProcess, spawn } from 'node:child_process';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../client/client.ts';
import { ApiError } from '../client/errors.ts';
import { Failure } from '../failure.ts';
import { daemonCall } from '../root.ts';
import type { EnginePlace } from './options.ts';

export interface StartOptions {
  place: EnginePlace;
  /** Further flags for the daemon. */
  flags: readonly string[];
  /** Milliseconds until it must be ready. */
  timeout: number;
}

export interface Started {
  pid: number;
  socket: string;
  log: string;
}

/**
 * Starts the daemon in a session of its own, its output appended to `daemon.log` in the data root, and waits until
 * it answers. Throws with the last lines of the log when it ends before.
 */
export async function startInBackground({ place, flags, timeout }: StartOptions): Promise<Started> {
  const log = `${place.dataRoot}/daemon.log`;
  await mkdir(place.dataRoot, { recursive: true, mode: 0o700 });
  const file = await open(log, 'a+', 0o600);
  try {
    const { size: from } = await file.stat();
    const { argv, env } = daemonCall([...place.daemonFlags, ...flags]);
    const child = spawn(argv[0] as string, argv.slice(1), {
      detached: true,
      cwd: '/',
      env,
      stdio: ['ignore', file.fd, file.fd],
    });
    const socket = await untilReady(child, file, from, place.socket, timeout);
    child.unref();
    return { pid: child.pid!, socket, log };
  } finally {
    await file.close();
  }
}

async function untilReady(
  child: ChildProcess,
  log: FileHandle,
  from: number,
  expected: string,
  timeout: number,
): Promise<string> {
  let ended: { reason: string } | undefined;
  child.once('error', (error) => (ended = { reason: error.message }));
  child.once('exit', (code, signal) => (ended = { reason: signal ?? `exit code ${code}` }));
  const deadline = performance.now() + timeout;
  while (performance.now() < deadline) {
    if (ended) throw await failedStart(ended.reason, log, from);
    // With a configuration file the socket may be elsewhere: the daemon's ready line names it.
    const socket = (await readyLine(log, from)) ?? expected;
    if (await answers(socket)) return socket;
    await sleep(25);
  }
  child.kill('SIGTERM');
  throw await failedStart(`not ready after ${timeout / 1000} s`, log, from);
}

/** True when an engine answers on the socket. */
export async function answers(socketPath: string): Promise<boolean> {
  try {
    await new Client({ socketPath }).status('GET', '/_ping', { signal: AbortSignal.timeout(2000) });
    return true;
  } catch (error) {
    return error instanceof ApiError;
  }
}

async function readTail(log: FileHandle, from: number): Promise<string> {
  const { size } = await log.stat();
  const start = Math.max(from, size - 64 * 1024);
  const buffer = Buffer.alloc(size - start);
  const { bytesRead } = await log.read(buffer, 0, buffer.length, start);
  return buffer.subarray(0, bytesRead).toString();
}

async function readyLine(log: FileHandle, from: number): Promise<string | undefined> {
  for (const line of (await readTail(log, from)).split('\n')) {
    if (!line.includes('"msg":"ready"')) continue;
    const parsed = JSON.parse(line) as { socket?: string };
    return parsed.socket;
  }
  return undefined;
}

async function failedStart(reason: string, log: FileHandle, from: number): Promise<Failure> {
  const lines = (await readTail(log, from)).trimEnd().split('\n').slice(-8);
  const shown = lines.map(messageIn).filter((line) => line !== '');
  const last = shown.at(-1);
  return new Failure(`the engine did not start (${reason})${last === undefined ? '' : `: ${last}`}`, {
    hint: shown.length > 1 ? shown.slice(0, -1).join('\n      ') : 'see: isle doctor',
  });
}

/** The message of a JSON log line; other lines (a crash of Node's) as they are. */
function messageIn(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } };
    return msg ?? err?.message ?? line;
  } catch {
    return line;
  }
}
