/**
 * Work that several callers want at once is done once: who asks for a key that is under way joins it, hears its
 * events (the last of each kind again, on joining), and may leave. When the last one leaves, it is aborted.
 */
export class SharedWork<Event> {
  #running = new Map<string, Running<Event>>();

  /**
   * Resolves when `work` for `key` is done, by whomever. When it fails that another caller started, ours starts
   * afresh: the other's credentials or registry may have been at fault.
   */
  async join(key: string, options: JoinOptions<Event>): Promise<void> {
    const { signal } = options;
    for (;;) {
      signal?.throwIfAborted();
      const others = this.#running.get(key);
      const running = others ?? this.#start(key, options.work);
      try {
        return await this.#wait(key, running, options);
      } catch (error) {
        if (!others || signal?.aborted) throw error;
      }
    }
  }

  #start(key: string, work: JoinOptions<Event>['work']): Running<Event> {
    const controller = new AbortController();
    const listeners = new Set<(event: Event) => void>();
    const running: Running<Event> = {
      controller,
      listeners,
      last: undefined,
      interested: 0,
      done: Promise.resolve(),
    };
    this.#running.set(key, running);
    const emit = (event: Event) => {
      running.last = event;
      for (const listener of listeners) listener(event);
    };
    // Behind a tick, so that the one who starts it hears its first event too.
    running.done = Promise.resolve()
      .then(() => work(controller.signal, emit))
      .finally(() => this.#forget(key, running));
    running.done.catch(() => undefined);
    return running;
  }

  async #wait(key: string, running: Running<Event>, options: JoinOptions<Event>): Promise<void> {
    const { signal, onEvent } = options;
    if (onEvent) running.listeners.add(onEvent);
    if (onEvent && running.last !== undefined) onEvent(running.last);
    running.interested++;
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(signal?.reason);
    signal?.addEventListener('abort', leave, { once: true });
    try {
      await Promise.race([running.done, left.promise]);
    } finally {
      signal?.removeEventListener('abort', leave);
      if (onEvent) running.listeners.delete(onEvent);
      if (--running.interested === 0) {
        this.#forget(key, running);
        running.controller.abort(signal?.reason);
        // The last one sees it cleaned up.
        await running.done.catch(() => undefined);
      }
    }
  }

  #forget(key: string, running: Running<Event>): void {
    if (this.#running.get(key) === running) this.#running.delete(key);
  }
}

export interface JoinOptions<Event> {
  work(signal: AbortSignal, emit: (event: Event) => void): Promise<void>;
  signal?: AbortSignal;
  onEvent?(event: Event): void;
}

interface Running<Event> {
  controller: AbortController;
  listeners: Set<(event: Event) => void>;
  last: Event | undefined;
  interested: number;
  done: Promise<void>;
}
