import type { QmpEvent } from './qmp.ts';

/** Events that wait for a slow reader; older ones are dropped. */
const most = 4096;

/** Events from when it was made until it ends, for one reader. */
export class EventQueue implements AsyncIterableIterator<QmpEvent> {
  #events: QmpEvent[] = [];
  #over = false;
  #wake: (() => void) | undefined;
  #onEnd: () => void;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  give(event: QmpEvent): void {
    if (this.#events.length === most) this.#events.shift();
    this.#events.push(event);
    this.#wake?.();
  }

  /** What came before is still read. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#onEnd();
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<QmpEvent, undefined>> {
    while (this.#events.length === 0) {
      if (this.#over) return { done: true, value: undefined };
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    return { done: false, value: this.#events.shift() as QmpEvent };
  }

  async return(): Promise<IteratorResult<QmpEvent, undefined>> {
    this.#events = [];
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
