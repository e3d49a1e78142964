export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

export interface WaitResult {
  code: number;
  error?: string;
}

interface Waiter {
  condition: WaitCondition;
  resolve(result: WaitResult): void;
}

/** Who waits for a container to end or to go. */
export class Waiters {
  #waiting = new Map<string, Set<Waiter>>();

  /** Registered when this returns. Aborting forgets the waiter; its promise then rejects with the abort reason. */
  add(id: string, condition: WaitCondition, signal: AbortSignal): Promise<WaitResult> {
    const { promise, resolve, reject } = Promise.withResolvers<WaitResult>();
    const waiter: Waiter = { condition, resolve };
    const set = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, set.add(waiter));
    const forget = () => {
      set.delete(waiter);
      if (set.size === 0 && this.#waiting.get(id) === set) this.#waiting.delete(id);
    };
    const onAbort = () => {
      forget();
      reject(signal.reason);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    const result = promise.finally(() => {
      signal.removeEventListener('abort', onAbort);
      forget();
    });
    // An aborted caller may have stopped listening already: its rejection is not an unhandled one.
    result.catch(() => {});
    return result;
  }

  exited(id: string, result: WaitResult): void {
    this.#wake(id, result, (condition) => condition !== 'removed');
  }

  removed(id: string, result: WaitResult): void {
    this.#wake(id, result, () => true);
  }

  #wake(id: string, result: WaitResult, wanted: (condition: WaitCondition) => boolean): void {
    for (const waiter of this.#waiting.get(id) ?? []) if (wanted(waiter.condition)) waiter.resolve(result);
  }
}
