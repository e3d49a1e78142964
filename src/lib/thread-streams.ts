import type { MessagePort } from 'node:worker_threads';

/** Bytes that may be on their way before the sender waits. */
const window = 4 << 20;

type Message = { data: Uint8Array } | { end: true } | { taken: number };

/** The sending end of a byte stream between two threads, with back-pressure. */
export class ThreadSender {
  readonly #port: MessagePort;
  #outstanding = 0;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (message: Message) => {
      if ('taken' in message) this.#outstanding -= message.taken;
      this.#wake?.();
    });
    port.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  /** True when the next `write` would wait. */
  get full(): boolean {
    return this.#closed || this.#outstanding > window;
  }

  /** Takes over `chunk` when it owns its memory, else copies it. Throws when the receiver has gone. */
  async write(chunk: Uint8Array): Promise<void> {
    const whole = chunk.byteLength === chunk.buffer.byteLength;
    const data = whole ? chunk : new Uint8Array(chunk);
    this.#outstanding += data.length;
    if (!this.#closed) this.#port.postMessage({ data }, [data.buffer as ArrayBuffer]);
    while (this.full) {
      if (this.#closed)
        throw Object.assign(new Error('the receiver of the stream has gone'), { code: 'EPIPE' });
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  end(): void {
    this.#port.postMessage({ end: true });
    this.#port.unref();
  }

  /** Stops without an end: the receiver fails. */
  close(): void {
    this.#port.close();
  }
}

/** The receiving end: iterate once. Leaving the iteration early closes the port, which stops the sender. */
export class ThreadReceiver implements AsyncIterable<Buffer> {
  readonly #port: MessagePort;
  readonly #chunks: Uint8Array[] = [];
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (message: Message) => {
      if ('data' in message) this.#chunks.push(message.data);
      if ('end' in message) this.#ended = true;
      this.#wake?.();
    });
    port.on('close', () => this.fail(new Error('the stream was cut short')));
  }

  /** Ends the iteration with `error`, unless the end has come. */
  fail(error: unknown): void {
    this.#error ??= error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
          this.#port.postMessage({ taken: chunk.byteLength });
        } else if (this.#ended) {
          return;
        } else if (this.#error !== undefined) {
          throw this.#error;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#port.close();
    }
  }
}
