import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { socketPath } from '../socket-path.ts';
import { EventQueue } from './event-queue.ts';
import { runJob } from './job.ts';
import { type QmpMessage, QmpMessages } from './messages.ts';
import type { JobOptions, Qmp, QmpEvent } from './qmp.ts';

/** Milliseconds for an answer. */
const defaultPatience = 5000;

/**
 * Messages a second that nobody asked for; who sends more is not read until that second is over. QEMU itself limits the rate of
 * most events.
 */
const unaskedRate = 2000;

/** Milliseconds from the moment that a socket is there until somebody listens at it: on a busy host that takes a while. */
const listening = 2000;

export interface QmpOptions {
  /** Milliseconds for the socket to appear and QEMU to greet. Default 5,000. */
  patience?: number;
  /** Gives up, and closes. */
  signal?: AbortSignal;
}

/**
 * Connects to the monitor that listens at `path` (of any length; its directory may belong to QEMU), waiting for it to appear. One
 * connection at a time per socket: QEMU lets a second one wait until the first has gone. Throws `guestUnresponsive`, `guestGone`.
 */
export async function connectQmp(path: string, options: QmpOptions = {}): Promise<Qmp> {
  const { patience = defaultPatience, signal } = options;
  const late = AbortSignal.timeout(patience);
  const either = signal ? AbortSignal.any([signal, late]) : late;
  const begin = performance.now();
  const waited = (): number => performance.now() - begin;
  try {
    for (;;) {
      using found = await socketPath(path, either);
      const connection = new Connection(connect({ path: found.path }), signal);
      try {
        await connection.open(Math.max(1, patience - waited()));
        return connection;
      } catch (error) {
        if (!connection.refused || waited() > Math.min(patience, listening)) throw error;
      }
      await sleep(5, undefined, { signal: either });
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (late.aborted) throw isleError('guestUnresponsive', { what: 'monitor', waited: patience }, error);
    throw error;
  }
}

/** Over a stream that is there already. Throws `guestUnresponsive`, `guestGone`. */
export async function openQmp(stream: Duplex): Promise<Qmp> {
  const connection = new Connection(stream);
  await connection.open(defaultPatience);
  return connection;
}

/** For a few commands: a connection that is closed afterwards. */
export async function withQmp<T>(path: string, use: (qmp: Qmp) => Promise<T>): Promise<T> {
  const qmp = await connectQmp(path);
  try {
    return await use(qmp);
  } finally {
    qmp.close();
  }
}

interface Asked {
  what: string;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

class Connection implements Qmp {
  readonly closed: Promise<void>;
  #socket: Duplex;
  #messages = new QmpMessages();
  #asked = new Map<number, Asked>();
  #lastId = 0;
  #queues = new Set<EventQueue>();
  #greeting = Promise.withResolvers<void>();
  #over: Error | undefined;
  #second = { begin: 0, unasked: 0 };

  constructor(socket: Duplex, signal?: AbortSignal) {
    this.#socket = socket;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#greeting.promise.catch(() => {}); // Told by open, if it still waits.
    const onAbort = () => this.#end('given up');
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (error) => this.#end(error.message, error));
    socket.on('close', () => {
      signal?.removeEventListener('abort', onAbort);
      this.#end('its monitor was closed');
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  }

  /** Nobody listened. */
  get refused(): boolean {
    return errnoOf(this.#over?.cause) === 'ECONNREFUSED';
  }

  async open(patience: number): Promise<void> {
    try {
      await within(patience, 'greeting of its monitor', this.#greeting.promise);
      await this.execute('qmp_capabilities', undefined, { patience });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  async execute<T>(command: string, args?: object, options?: { patience?: number }): Promise<T> {
    if (this.#over) throw this.#gone(command);
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#asked.set(id, { what: command, resolve, reject });
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return (await within(options?.patience ?? defaultPatience, command, promise)) as T;
    } finally {
      this.#asked.delete(id);
    }
  }

  events(signal: AbortSignal): AsyncIterable<QmpEvent> {
    const end = () => queue.end();
    const queue = new EventQueue(() => {
      this.#queues.delete(queue);
      signal.removeEventListener('abort', end);
    });
    if (this.#over || signal.aborted) queue.end();
    else {
      this.#queues.add(queue);
      signal.addEventListener('abort', end, { once: true });
    }
    return queue;
  }

  async job(id: string, begin: () => Promise<unknown>, options: JobOptions = {}): Promise<void> {
    await runJob(this, id, begin, options);
  }

  close(): void {
    this.#end('closed by Isle');
  }

  #onData(chunk: Buffer): void {
    try {
      for (const message of this.#messages.take(chunk)) this.#onMessage(message);
    } catch (error) {
      this.#end('it sent what no QEMU sends', error);
    }
  }

  #onMessage(message: QmpMessage): void {
    const asked = 'id' in message ? this.#asked.get(message.id) : undefined;
    if (!asked) this.#slowDown();
    else if ('id' in message) this.#asked.delete(message.id); // A second answer to it is nobody's.
    if (message.kind === 'greeting') this.#greeting.resolve();
    else if (message.kind === 'event') for (const queue of this.#queues) queue.give(message.event);
    else if (message.kind === 'answer') asked?.resolve(message.value);
    else if (message.kind === 'refusal')
      asked?.reject(isleError('guestFailed', { what: asked.what, detail: message.why }));
  }

  #slowDown(): void {
    const now = performance.now();
    if (now - this.#second.begin > 1000) this.#second = { begin: now, unasked: 0 };
    if (++this.#second.unasked !== unaskedRate) return;
    this.#socket.pause();
    setTimeout(() => this.#socket.resume(), this.#second.begin + 1001 - now).unref();
  }

  #end(why: string, cause?: unknown): void {
    if (this.#over) return;
    this.#over = new Error(why, { cause });
    this.#greeting.reject(this.#gone('greeting'));
    for (const { what, reject } of this.#asked.values()) reject(this.#gone(what));
    for (const queue of this.#queues) queue.end();
    this.#socket.destroy();
  }

  #gone(what: string): Error {
    return isleError('guestGone', { what: `${what}: ${this.#over?.message}` }, this.#over);
  }
}

async function within<T>(patience: number, what: string, promised: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(isleError('guestUnresponsive', { what, waited: Math.round(patience) })),
    patience,
  );
  try {
    return await Promise.race([promised, promise]);
  } finally {
    clearTimeout(timer);
  }
}
