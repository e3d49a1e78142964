import { Readable, Writable } from 'node:stream';
import type { Streams } from '../../../engine/runtime.ts';
import { isleError } from '../../../lib/errors.ts';
import { firstCredit, frameType } from '../protocol.ts';

/** What a session may do with its connection. */
export interface SessionPort {
  send(type: number, payload?: Uint8Array): void;
}

export interface GuestExit {
  /** 0–255; 128 + signal when killed by one. */
  code: number;
  /** The guest's kernel killed it for memory. */
  oomKilled: boolean;
}

/** Bytes of one `stdin` frame. */
const stdinPiece = 32 * 1024;
/** Bytes read by the client before they are granted to the guest again: few messages, and never a stall. */
const grantStep = firstCredit / 4;
/** Bytes of stdin a sound guest ever asks for at once. */
const maxStdinCredit = 16 * 1024 * 1024;

/** The streams of a process in a guest. The process waits when its output is not read, and a writer when it does not read. */
export class ExecSession {
  readonly streams: Streams;
  readonly exit: Promise<GuestExit>;
  #port: SessionPort;
  #end = Promise.withResolvers<GuestExit>();
  #outputs: { stdout: Output; stderr: Output };
  #stdin: Input | undefined;
  /** What the guest may still send. */
  #credit = firstCredit;
  #read = 0;

  constructor(port: SessionPort, stdin: boolean) {
    this.#port = port;
    this.exit = this.#end.promise;
    // Who does not ask how it ended need not hear that the guest went away.
    this.exit.catch(() => {});
    const grant = (size: number): void => this.#grant(size);
    this.#outputs = { stdout: new Output(grant), stderr: new Output(grant) };
    if (stdin) this.#stdin = new Input(port);
    const { stdout, stderr } = this.#outputs;
    this.streams = { stdin: this.#stdin, stdout, stderr, close: () => this.#disconnect() };
  }

  /** Throws `guestBroken` when the guest sends more than it was allowed to. */
  output(name: 'stdout' | 'stderr', data: Buffer): void {
    this.#credit -= data.length;
    if (this.#credit < 0) throw isleError('guestBroken', { why: 'it sent more output than was asked for' });
    this.#outputs[name].arrived(data);
  }

  stdinCredit(size: number): void {
    this.#stdin?.allow(size);
  }

  ended(exit: GuestExit): void {
    this.#finish();
    this.#end.resolve(exit);
  }

  failed(error: Error): void {
    this.#finish();
    this.#end.reject(error);
  }

  #finish(): void {
    this.#outputs.stdout.push(null);
    this.#outputs.stderr.push(null);
    this.#stdin?.destroy();
  }

  #disconnect(): void {
    this.#outputs.stdout.destroy();
    this.#outputs.stderr.destroy();
    this.#stdin?.destroy();
  }

  #grant(size: number): void {
    this.#read += size;
    if (this.#read < grantStep) return;
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(this.#read);
    this.#credit += this.#read;
    this.#read = 0;
    this.#port.send(frameType.outputCredit, payload);
  }
}

/** Output as it comes; grants what its reader took, and everything when nobody reads any more. */
class Output extends Readable {
  #grant: (size: number) => void;
  #waiting = 0;

  constructor(grant: (size: number) => void) {
    super({ highWaterMark: 64 * 1024 });
    this.#grant = grant;
  }

  arrived(data: Buffer): void {
    if (data.length === 0) return;
    if (this.destroyed || this.readableEnded) this.#grant(data.length);
    else if (this.push(data)) this.#grant(data.length);
    else this.#waiting += data.length;
  }

  override _read(): void {
    this.#release();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#release();
    done(error);
  }

  #release(): void {
    const size = this.#waiting;
    this.#waiting = 0;
    if (size > 0) this.#grant(size);
  }
}

/** Sends what the guest has room for. */
class Input extends Writable {
  #port: SessionPort;
  #credit = 0;
  #rest: Buffer = Buffer.alloc(0);
  #done: ((error?: Error | null) => void) | undefined;

  constructor(port: SessionPort) {
    super({ highWaterMark: 64 * 1024, decodeStrings: true });
    this.#port = port;
  }

  allow(size: number): void {
    this.#credit += size;
    if (this.#credit > maxStdinCredit) throw isleError('guestBroken', { why: 'it asked for too much input' });
    this.#flush();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#rest = chunk;
    this.#done = done;
    this.#flush();
  }

  override _final(done: () => void): void {
    this.#port.send(frameType.stdinEnd);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // A client that goes without ending its input leaves the process with an end of file, as a closed pipe does.
    if (!this.writableFinished) this.#port.send(frameType.stdinEnd);
    this.#rest = Buffer.alloc(0);
    done(error);
  }

  #flush(): void {
    while (this.#rest.length > 0 && this.#credit > 0 && !this.destroyed) {
      const piece = this.#rest.subarray(0, Math.min(this.#credit, stdinPiece));
      this.#port.send(frameType.stdin, piece);
      this.#credit -= piece.length;
      this.#rest = this.#rest.subarray(piece.length);
    }
    if (this.#rest.length > 0) return;
    const done = this.#done;
    this.#done = undefined;
    done?.();
  }
}
