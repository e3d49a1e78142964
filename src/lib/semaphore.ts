/** Lets `slots` holders in at a time, in the order of asking. */
export class Semaphore {
  #free: number;
  #waiting: { enter(): void }[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  /** True when the next one has to wait. */
  get isFull(): boolean {
    return this.#free === 0;
  }

  /** Resolves with the release once there is room. Throws the abort reason. */
  async acquire(signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#wait(signal);
    let released = false;
    return {
      [Symbol.dispose]: () => {
        if (released) return;
        released = true;
        const next = this.#waiting.shift();
        if (next) next.enter();
        else this.#free++;
      },
    };
  }

  #wait(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const place = { enter: () => (signal?.removeEventListener('abort', leave), resolve()) };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(place), 1);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', leave, { once: true });
      this.#waiting.push(place);
    });
  }
}
