/**
 * Runs operations on one key one after another, in the order they came; different keys run side by side. An
 * operation must not wait for another one on its own key, and never for a workload to end: waiting is done
 * outside, so that a slow `stop` does not keep a `kill` away.
 */
export class KeyedQueue {
  #tails = new Map<string, Promise<unknown>>();

  run<T>(key: string, operation: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    const result = before === undefined ? operation() : before.then(operation, operation);
    const tail = result.then(ignore, ignore).then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    this.#tails.set(key, tail);
    return result;
  }

  /** Resolves when nothing runs or waits any more. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }
}

function ignore(): void {}
