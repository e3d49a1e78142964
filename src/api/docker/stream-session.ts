import { once } from 'node:events';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { Streams } from '../../engine/runtime.ts';
import { DetachFilter } from '../http/detach-keys.ts';
import { frame } from '../http/frames.ts';
import { write } from '../http/output.ts';

export interface SessionOptions {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Looked for only when there is a terminal to leave. */
  detachKeys: number[];
  /** Resolves when the process has ended, though others may still hold its streams. */
  exited?: Promise<unknown>;
}

/**
 * Joins a client's connection and a process's streams until the output ends, the client leaves by the detach keys
 * or goes away. A client that only half-closes has ended its input and still gets all output.
 */
export async function serveStreams(socket: Duplex, streams: Streams, options: SessionOptions): Promise<void> {
  const gone = new AbortController();
  const activity = { last: performance.now(), blocked: 0 };
  const left = Promise.withResolvers<never>();
  const leave = (): void => {
    gone.abort(new DOMException('the client is gone', 'AbortError'));
    left.reject(gone.signal.reason);
  };
  socket.once('close', leave);
  // It may have gone while the process was being connected.
  if (socket.destroyed) leave();
  socket.once('end', () => probe(socket));
  const output = Promise.all([
    pump(streams.stdout, options.stdout, 'stdout', socket, options, activity, gone.signal),
    pump(streams.stderr, options.stderr, 'stderr', socket, options, activity, gone.signal),
  ]);
  const detached = readInput(socket, streams.stdin, options, gone.signal);
  try {
    const ends: Promise<unknown>[] = [output, detached, left.promise];
    if (options.exited) ends.push(silentAfter(options.exited, activity, gone.signal));
    await Promise.race(ends);
    if (options.exited) await Promise.race([options.exited, detached, left.promise]);
  } catch (error) {
    if (!gone.signal.aborted) throw error;
  } finally {
    for (const promise of [output, detached, left.promise]) promise.catch(() => undefined);
    streams.close();
    finish(socket);
  }
}

async function pump(
  source: Readable,
  wanted: boolean,
  name: 'stdout' | 'stderr',
  socket: Duplex,
  { tty }: SessionOptions,
  activity: { last: number; blocked: number },
  signal: AbortSignal,
): Promise<void> {
  if (!wanted) {
    // Unread, it would stop the process.
    source.resume();
    if (!source.readableEnded && !source.destroyed)
      await once(source, 'close', { signal }).catch(() => undefined);
    return;
  }
  for await (const chunk of source as AsyncIterable<Buffer>) {
    activity.blocked++;
    await write(socket, tty ? chunk : frame(name, chunk), signal);
    activity.blocked--;
    activity.last = performance.now();
  }
}

/** Resolves when the client detaches; never otherwise. */
async function readInput(
  socket: Duplex,
  stdin: Writable | undefined,
  options: SessionOptions,
  signal: AbortSignal,
): Promise<void> {
  const never = new Promise<void>(() => undefined);
  if (!options.stdin || !stdin) {
    socket.resume();
    return never;
  }
  // The process may have closed its input, or be gone: what is typed then leads nowhere, and is no error.
  stdin.on('error', () => socket.resume());
  const filter = options.tty ? new DetachFilter(options.detachKeys) : undefined;
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      const { data, detached } = filter?.push(chunk) ?? { data: chunk, detached: false };
      if (data.length > 0 && stdin.writable) await write(stdin, data, signal);
      if (detached) return;
    }
    stdin.end();
  } catch (error) {
    if (signal.aborted) throw error;
  }
  return never;
}

/**
 * A process's children may keep its streams open for ever: when it has ended and nothing has come for a while (and
 * nothing waits for a slow client), that is the end.
 */
async function silentAfter(
  exited: Promise<unknown>,
  activity: { last: number; blocked: number },
  signal: AbortSignal,
): Promise<void> {
  await exited;
  const quiet = 500;
  activity.last = performance.now();
  while (!signal.aborted && (activity.blocked > 0 || performance.now() - activity.last < quiet)) {
    const { promise, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, quiet / 2).unref();
    await promise;
  }
}

/** milliseconds between two looks whether a client that half-closed is still there */
const probing = 1000;

/**
 * The end of a client's input may be all that it says, or it may be gone. A write of nothing tells: the kernel lets
 * it pass while the other side reads, and fails it when a UNIX socket's other end is closed. Without it, a client
 * that leaves a silent process would keep its connection for ever.
 */
function probe(socket: Duplex): void {
  if (socket.destroyed || socket.writableEnded) return;
  if (socket.writableLength === 0) socket.write(Buffer.alloc(0));
  setTimeout(() => probe(socket), probing).unref();
}

/** milliseconds */
const lingering = 10_000;

/**
 * Ends the connection and keeps reading until the client closes too: a UNIX socket closed with unread input gives
 * the client a reset in place of the end.
 */
export function finish(socket: Duplex): void {
  if (socket.destroyed) return;
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingering);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}
