import { PassThrough, type Readable, type Writable } from 'node:stream';
import type { Streams } from '../runtime.ts';

/** Streams that are handed out before there is anything to connect them to. */
export class PendingStreams implements Streams {
  readonly stdin?: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  #input?: PassThrough;
  #output = new PassThrough();
  #errors = new PassThrough();
  #connected?: Streams;
  #closed = false;
  #forget: () => void;

  constructor(withStdin: boolean, forget: () => void) {
    this.stdout = this.#output;
    this.stderr = this.#errors;
    this.#forget = forget;
    if (withStdin) this.stdin = this.#input = new PassThrough();
  }

  connect(streams: Streams): void {
    if (this.#closed) return streams.close();
    this.#connected = streams;
    join(streams.stdout, this.#output);
    join(streams.stderr, this.#errors);
    if (this.#input && streams.stdin) join(this.#input, streams.stdin);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#forget();
    this.#connected?.close();
    this.#output.end();
    this.#errors.end();
    this.#input?.destroy();
  }
}

/** Ends of either side, failed or not, are ends: a client that goes away or a process that ends is nothing unusual. */
function join(from: Readable, to: Writable): void {
  from.on('error', () => to.end());
  to.on('error', () => from.unpipe(to));
  from.pipe(to);
}
