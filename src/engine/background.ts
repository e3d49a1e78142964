import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** Work that no caller waits for. Its failures are logged; `idle` waits for all of it. */
export class Background {
  #running = new Set<Promise<void>>();
  #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  run(what: string, work: () => Promise<unknown>): void {
    const done = work()
      .then(
        () => {},
        (error: unknown) => this.#log.error({ err: error }, `${what}: ${messageOf(error)}`),
      )
      .finally(() => this.#running.delete(done));
    this.#running.add(done);
  }

  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
