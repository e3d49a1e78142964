import { Duplex } from 'node:stream';
import { nativeCalls } from './native.ts';
import { createPoll, type Poll, READABLE, WRITABLE } from './poll.ts';
import { systemError } from './system-error.ts';

interface Calls {
  connectUnixSync(path: string, type: number, timeout: number): number;
  connectUnix(path: string, type: number, timeout: number): Promise<number>;
  shutdownSocketSync(fd: number, how: number): void;
  closeFdSync(fd: number): void;
  receive(fd: number): Buffer | number;
  send(fd: number, buffer: Buffer, offset: number, length: number): number;
}

const calls = nativeCalls<Calls>()('connectUnixSync', 'connectUnix', 'shutdownSocketSync', 'receive', 'send');

export interface SeqpacketOptions {
  /** Bytes of the longest packet written; longer writes are split. Default 32,768: conmon reads no more at once. */
  maxPacket?: number;
  /** Milliseconds to wait for a listener whose queue is full. Default 5,000. */
  connectTimeout?: number;
}

/**
 * Connects to the SOCK_SEQPACKET socket at `path` (of any length).
 * Rejects with the system error: ENOENT, ECONNREFUSED (nobody listens), EAGAIN (queue full until the time-out).
 */
export async function connectSeqpacket(
  path: string,
  options: SeqpacketOptions = {},
): Promise<SeqpacketSocket> {
  return new SeqpacketSocket(
    await connect(path, options.connectTimeout ?? 5000),
    options.maxPacket ?? 32_768,
  );
}

const SOCK_SEQPACKET = 5;
const SHUT_WR = 1;
/** Packets taken per turn of the event loop, so that one busy socket starves nobody. */
const BURST = 16;

async function connect(path: string, timeout: number): Promise<number> {
  try {
    return calls.connectUnixSync(path, SOCK_SEQPACKET, 0);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
    return calls.connectUnix(path, SOCK_SEQPACKET, Math.max(1, timeout));
  }
}

/**
 * A connected socket as a stream. Each chunk read is one whole packet (at most 64 KiB; a longer one is an
 * EMSGSIZE error); nothing is read from the kernel while the consumer is paused. `end()` half-closes: packets
 * still come. `destroy()` closes; it may be called at any time, any number of times.
 */
export class SeqpacketSocket extends Duplex {
  #fd: number;
  #poll: Poll;
  #maxPacket: number;
  #events = 0;
  #pending: { chunk: Buffer; offset: number; done: (error?: Error | null) => void } | undefined;

  constructor(fd: number, maxPacket: number) {
    // The peer's end ends our side too, and with both the descriptor is closed.
    super({ readableObjectMode: true, readableHighWaterMark: 16, allowHalfOpen: false });
    this.#fd = fd;
    this.#maxPacket = maxPacket;
    this.#poll = createPoll(fd, (events, status) => this.#onEvent(events, status));
  }

  override _read(): void {
    this.#want(this.#events | READABLE);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#pending = { chunk, offset: 0, done };
    this.#flush();
  }

  override _final(done: (error?: Error | null) => void): void {
    try {
      if (this.#fd >= 0) calls.shutdownSocketSync(this.#fd, SHUT_WR);
      done();
    } catch (error) {
      // ENOTCONN: the peer has gone already; that side is closed as asked.
      const gone = error instanceof Error && 'code' in error && error.code === 'ENOTCONN';
      done(gone ? null : (error as Error));
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#poll.close();
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) calls.closeFdSync(fd);
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.done(error ?? systemError('ECONNRESET', 'write'));
    done(error);
  }

  #onEvent(events: number, status: number): void {
    if (status < 0) {
      this.destroy(systemError(-status, 'poll'));
      return;
    }
    if (events & WRITABLE) this.#flush();
    if (events & READABLE) this.#receive();
  }

  #receive(): void {
    for (let i = 0; i < BURST && this.#fd >= 0; i++) {
      const packet = calls.receive(this.#fd);
      if (typeof packet !== 'number') {
        if (this.push(packet)) continue;
        this.#want(this.#events & ~READABLE);
      } else if (packet === 0) {
        this.#want(this.#events & ~READABLE);
        this.push(null);
      } else if (packet !== EAGAIN) this.destroy(systemError(-packet, 'recv'));
      return;
    }
  }

  #flush(): void {
    const pending = this.#pending;
    if (pending === undefined || this.#fd < 0) return;
    while (pending.offset < pending.chunk.length) {
      const length = Math.min(this.#maxPacket, pending.chunk.length - pending.offset);
      const sent = calls.send(this.#fd, pending.chunk, pending.offset, length);
      if (sent === EAGAIN) {
        this.#want(this.#events | WRITABLE);
        return;
      }
      if (sent < 0) {
        this.#finish(systemError(-sent, 'send'));
        return;
      }
      pending.offset += sent;
    }
    this.#finish(null);
  }

  #finish(error: Error | null): void {
    const done = this.#pending?.done;
    this.#pending = undefined;
    this.#want(this.#events & ~WRITABLE);
    done?.(error);
  }

  #want(events: number): void {
    if (events === this.#events || this.#fd < 0) return;
    this.#events = events;
    this.#poll.start(events);
  }
}

const EAGAIN = -11;
