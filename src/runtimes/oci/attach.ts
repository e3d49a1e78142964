import { Readable, Writable } from 'node:stream';
import type { Streams } from '../../engine/runtime.ts';
import { connectSeqpacket, type SeqpacketSocket } from '../../host/seqpacket.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';

/** conmon marks each packet with its pipe (utils.h: STDOUT_PIPE, STDERR_PIPE). */
const stderrPipe = 3;

/** Bytes that wait for one slow reader before the process has to. As much as Docker's. */
const seatLimit = 1024 * 1024;

/** conmon reads at most 32 KiB of a packet and drops the rest (conn_sock.c). */
const maxPacket = 16 * 1024;

export interface HubOptions {
  /** Path of conmon's attach socket. */
  path: string;
  stdin: boolean;
  /** conmon ends the process's stdin when a connection half-closes or goes. */
  closesStdin: boolean;
}

/**
 * Shares one connection to conmon among any number of attached clients.
 *
 * One, because conmon writes to its connections one after the other and blocking, and because with
 * `closesStdin` the end of any of them ends the process's stdin: a client that only watches must not do that.
 */
export class AttachHub {
  #options: HubOptions;
  #seats = new Set<Seat>();
  #socket: SeqpacketSocket | undefined;
  #connecting: Promise<SeqpacketSocket> | undefined;
  #stdinEnded = false;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /** Joins. Throws `conflict` when the process has ended. Both outputs must be read (or destroyed). */
  async attach(): Promise<Streams> {
    const socket = await this.#connect();
    const seat: Seat = new Seat(
      () => this.#flow(),
      () => this.#leave(seat),
    );
    this.#seats.add(seat);
    if (socket.destroyed) seat.end();
    const streams: Streams = {
      stdout: seat.stdout,
      stderr: seat.stderr,
      close: () => this.#leave(seat),
    };
    if (this.#options.stdin) defineStdin(streams, () => this.#stdin(seat));
    return streams;
  }

  close(): void {
    for (const seat of this.#seats) seat.end();
    this.#seats.clear();
    this.#socket?.destroy();
  }

  async #connect(): Promise<SeqpacketSocket> {
    if (this.#socket && !this.#socket.destroyed) return this.#socket;
    this.#connecting ??= this.#open().finally(() => (this.#connecting = undefined));
    return await this.#connecting;
  }

  async #open(): Promise<SeqpacketSocket> {
    let socket: SeqpacketSocket;
    try {
      socket = await connectSeqpacket(this.#options.path, { maxPacket });
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ECONNREFUSED')
        throw isleError('conflict', { message: 'cannot attach: the process has ended' }, error);
      throw error;
    }
    socket.on('data', (packet: Buffer) => this.#onPacket(packet));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#onClose(socket));
    this.#socket = socket;
    return socket;
  }

  #onPacket(packet: Buffer): void {
    const data = packet.subarray(1);
    if (data.length === 0) return;
    for (const seat of this.#seats) seat.give(packet[0] === stderrPipe, data);
    this.#flow();
  }

  #onClose(socket: SeqpacketSocket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    for (const seat of this.#seats) seat.end();
    this.#seats.clear();
  }

  /** Reads on while no seat is full: what a client does not take in time, the process has to wait for. */
  #flow(): void {
    const full = [...this.#seats].some((seat) => seat.full);
    if (full) this.#socket?.pause();
    else this.#socket?.resume();
  }

  #leave(seat: Seat): void {
    if (!this.#seats.delete(seat)) return;
    seat.end();
    if (seat.tookStdin) this.#endStdin();
    const mayGo = !this.#options.closesStdin || this.#stdinEnded;
    if (this.#seats.size === 0 && mayGo) {
      const socket = this.#socket;
      this.#socket = undefined;
      socket?.destroy();
    } else this.#flow();
  }

  #endStdin(): void {
    if (!this.#options.closesStdin || this.#stdinEnded) return;
    this.#stdinEnded = true;
    this.#socket?.end();
  }

  #stdin(seat: Seat): Writable {
    seat.tookStdin = true;
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        const socket = this.#socket;
        // Written to a process that has ended or closed its stdin: as with a pipe nobody reads.
        if (!socket || socket.destroyed || this.#stdinEnded) return done();
        socket.write(chunk, () => done());
      },
      final: (done) => {
        this.#endStdin();
        done();
      },
    });
  }
}

/** One attached client. */
class Seat {
  readonly stdout: Readable;
  readonly stderr: Readable;
  tookStdin = false;

  constructor(onDrain: () => void, onGone: () => void) {
    this.stdout = new Readable({ read: onDrain });
    this.stderr = new Readable({ read: onDrain });
    // A reader that destroys both outputs has gone.
    const check = () => {
      if (this.stdout.destroyed && this.stderr.destroyed) onGone();
    };
    for (const stream of [this.stdout, this.stderr]) stream.on('close', check).on('error', () => {});
  }

  get full(): boolean {
    return [this.stdout, this.stderr].some(
      (stream) => !stream.destroyed && stream.readableLength > seatLimit,
    );
  }

  give(toStderr: boolean, data: Buffer): void {
    const stream = toStderr ? this.stderr : this.stdout;
    if (!stream.destroyed && !stream.readableEnded) stream.push(data);
  }

  end(): void {
    for (const stream of [this.stdout, this.stderr])
      if (!stream.destroyed && !this.#ended.has(stream)) {
        this.#ended.add(stream);
        stream.push(null);
      }
  }

  #ended = new Set<Readable>();
}

/** Made when first read: a client that never asks for stdin must not end it by going. */
function defineStdin(streams: Streams, make: () => Writable): void {
  let stdin: Writable | undefined;
  Object.defineProperty(streams, 'stdin', { enumerable: true, get: () => (stdin ??= make()) });
}
