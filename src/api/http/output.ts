import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** Writes and, when the other side is slow, waits until it takes more. Rejects when it is gone. */
export async function write(sink: Writable, chunk: Buffer | string, signal: AbortSignal): Promise<void> {
  if (sink.destroyed || sink.writableEnded) throw new DOMException('the client is gone', 'AbortError');
  if (sink.write(chunk)) return;
  await once(sink, 'drain', { signal });
}

/**
 * JSON, one object a line, for producers that cannot wait (progress callbacks, events). What a slow client has
 * not taken is bounded: lines marked as `latest` replace the waiting one of the same key; when too many others
 * wait, the stream is given up.
 */
export class JsonLines {
  readonly #sink: Writable;
  readonly #onOverflow: () => void;
  readonly #latest = new Map<string, string>();

  constructor(sink: Writable, onOverflow: () => void) {
    this.#sink = sink;
    this.#onOverflow = onOverflow;
    sink.on('drain', () => this.#flush());
  }

  send(value: unknown): void {
    this.#flushLatest();
    this.#write(line(value));
  }

  /** A line that the next one of the same `key` makes worthless (a progress bar's position). */
  sendLatest(key: string, value: unknown): void {
    if (this.#sink.writableNeedDrain) this.#latest.set(key, line(value));
    else this.#write(line(value));
  }

  #flush(): void {
    if (!this.#sink.destroyed && !this.#sink.writableEnded) this.#flushLatest();
  }

  #flushLatest(): void {
    for (const text of this.#latest.values()) this.#write(text);
    this.#latest.clear();
  }

  #write(text: string): void {
    if (this.#sink.destroyed || this.#sink.writableEnded) return;
    this.#sink.write(text);
    if (this.#sink.writableLength > maximumBacklog) this.#onOverflow();
  }
}

/** bytes */
const maximumBacklog = 4 * 1024 * 1024;

function line(value: unknown): string {
  return `${JSON.stringify(value)}\r\n`;
}
