import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, isleError, isIsleError } from '../../../lib/errors.ts';
import { frameType, headerSize, maxPayload } from '../protocol.ts';
import { encodeFields, fieldOf, numberOf, parseFields } from './fields.ts';
import { encodeFrame, FrameDecoder, type Frame } from './frame-codec.ts';
import { WelcomeFinder } from './welcome-finder.ts';

/** What the guest said of itself: unchecked words, cut to a bearable length. */
export interface Welcome {
  version: number;
  kernel: string;
  /** Milliseconds since its kernel began. */
  bootMs: number;
  /** What became of a `run` that this guest was sent, perhaps by a daemon that is gone. */
  workload: 'none' | 'starting' | 'running' | 'ended';
}

export interface ConnectOptions {
  /** Milliseconds until `guestUnresponsive`, boot included. */
  timeout: number;
  signal?: AbortSignal;
  /** Somebody has spoken to this guest before, and may have left in the middle of a frame. */
  again?: boolean;
}

/**
 * Milliseconds until a `hello` is said again on a new connection, and between the two. Doubles, since most who do not
 * answer are booting.
 */
const patience = 2000;
const pause = 300;

/**
 * Fills whatever frame a former daemon left half sent, and is no frame itself: the guest drops all of it. It forgets such a
 * half when it sees that nobody is there, but may not be told of a client that went and the next that came.
 */
const filler = Buffer.alloc(headerSize + maxPayload, 0xff);
/** Milliseconds for the guest to read it: what comes with its end is dropped, too. */
const fillTime = 300;

const workloadStates = ['none', 'starting', 'running', 'ended'] as const;

/**
 * One connection to a guest's agent port, after the greeting. Frames go to `onFrame` in order; when it throws, the guest
 * is given up.
 */
export class AgentConnection {
  readonly welcome: Welcome;
  /** Resolves, never rejects: with why, or undefined after {@link close}. */
  readonly closed: Promise<Error | undefined>;
  onFrame: (frame: Frame) => void = () => {};
  #socket: Socket;
  #decoder = new FrameDecoder();
  #end = Promise.withResolvers<Error | undefined>();

  /** Waits for the socket, too. Throws `guestUnresponsive`, `guestBroken`, `guestGone`, or the signal's reason. */
  static async open(
    path: string,
    { timeout, signal, again = false }: ConnectOptions,
  ): Promise<AgentConnection> {
    const late = AbortSignal.timeout(timeout);
    const ends = signal ? AbortSignal.any([signal, late]) : late;
    try {
      for (let wait = patience; ; wait *= 2) {
        const socket = await reach(path, ends);
        if (again && wait > patience) await fill(socket, ends);
        const connection = await greet(socket, AbortSignal.timeout(wait), ends);
        if (connection) return connection;
        await sleep(pause, undefined, { signal: ends });
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (late.aborted) throw isleError('guestUnresponsive', { what: 'greeting', waited: timeout }, error);
      throw error;
    }
  }

  constructor(socket: Socket, welcome: Welcome, rest: Buffer) {
    this.#socket = socket;
    this.welcome = welcome;
    this.closed = this.#end.promise;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#finish(isleError('guestGone', { what: error.message }, error)));
    socket.on('close', () => this.#finish(isleError('guestGone', { what: 'closed by its monitor' })));
    // What came with the welcome: after whoever opened this has said where frames go.
    if (rest.length > 0) queueMicrotask(() => this.#receive(rest));
    socket.resume();
  }

  send(type: number, session: number, payload?: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(encodeFrame(type, session, payload));
  }

  close(): void {
    this.#finish(undefined);
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) {
        if (this.#socket.destroyed) return;
        this.onFrame(frame);
      }
    } catch (error) {
      this.#finish(isIsleError(error) ? error : isleError('guestBroken', { why: String(error) }, error));
    }
  }

  #finish(why: Error | undefined): void {
    this.#socket.destroy();
    this.#end.resolve(why);
  }
}

/** QEMU makes the socket when it starts, and serves one client at a time. */
async function reach(path: string, signal: AbortSignal): Promise<Socket> {
  for (;;) {
    try {
      return await connected(path, signal);
    } catch (error) {
      if (signal.aborted || !['ENOENT', 'ECONNREFUSED', 'EAGAIN'].includes(errnoOf(error) ?? '')) throw error;
      await sleep(10, undefined, { signal });
    }
  }
}

async function connected(path: string, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ path });
  const abort = (): void => void socket.destroy(new Error('aborted'));
  signal.addEventListener('abort', abort, { once: true });
  socket.once('connect', () => resolve(socket)).once('error', reject);
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', abort);
    socket.off('error', reject);
  }
}

async function fill(socket: Socket, signal: AbortSignal): Promise<void> {
  const ignore = () => {}; // Whoever greets next sees that it is gone.
  socket.on('error', ignore);
  try {
    socket.write(filler);
    await sleep(fillTime, undefined, { signal });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    if (!socket.destroyed) socket.off('error', ignore);
  }
}

/** Undefined when nothing came until `late`. */
async function greet(
  socket: Socket,
  late: AbortSignal,
  signal: AbortSignal,
): Promise<AgentConnection | undefined> {
  const nonce = randomBytes(16).toString('hex');
  const finder = new WelcomeFinder(nonce);
  const { promise, resolve, reject } = Promise.withResolvers<AgentConnection | undefined>();
  const onData = (chunk: Buffer): void => {
    try {
      const found = finder.push(chunk);
      if (found === undefined) return;
      socket.pause();
      detach();
      resolve(new AgentConnection(socket, parseWelcome(found.payload), found.rest));
    } catch (error) {
      reject(error);
    }
  };
  const onError = (error: Error): void => reject(isleError('guestGone', { what: error.message }, error));
  const onClose = (): void => reject(isleError('guestGone', { what: 'closed before the guest answered' }));
  const onAbort = (): void => reject(signal.reason);
  const onLate = (): void => resolve(undefined);
  const detach = (): void => {
    signal.removeEventListener('abort', onAbort);
    late.removeEventListener('abort', onLate);
    socket.off('data', onData).off('error', onError).off('close', onClose);
  };
  socket.on('data', onData).on('error', onError).on('close', onClose);
  signal.addEventListener('abort', onAbort, { once: true });
  late.addEventListener('abort', onLate, { once: true });
  if (signal.aborted) onAbort();
  socket.write(encodeFrame(frameType.hello, 0, encodeFields([['nonce', nonce]])));
  let connection: AgentConnection | undefined;
  try {
    connection = await promise;
    return connection;
  } finally {
    detach();
    if (!connection) socket.on('error', () => {}).destroy();
  }
}

function parseWelcome(payload: Buffer): Welcome {
  const fields = parseFields(payload);
  return {
    version: numberOf(fields, 'version'),
    kernel: (fieldOf(fields, 'kernel') ?? '').slice(0, 100),
    bootMs: numberOf(fields, 'bootMs'),
    workload: workloadStates.find((state) => state === fieldOf(fields, 'workload')) ?? 'none',
  };
}
