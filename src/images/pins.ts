/**
 * What running work uses: garbage collection leaves it alone. A pin waits for a deletion of the same thing that
 * is under way, so that what is found after pinning stays.
 */
export class Pins {
  #counts = new Map<string, number>();
  #holds = 0;
  #deleting = new Map<string, Promise<void>>();

  /** Pins digests and chain ids until the returned release is called. */
  async pin(keys: Iterable<string>): Promise<Disposable> {
    const pinned = [...new Set(keys)];
    for (const key of pinned) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    await Promise.allSettled(pinned.flatMap((key) => this.#deleting.get(key) ?? []));
    let released = false;
    return {
      [Symbol.dispose]: () => {
        if (released) return;
        released = true;
        for (const key of pinned) this.#release(key);
      },
    };
  }

  /** Pins everything, for work that cannot say beforehand what it will make (load, import, commit). */
  async pinAll(): Promise<Disposable> {
    this.#holds++;
    await Promise.allSettled(this.#deleting.values());
    let released = false;
    return {
      [Symbol.dispose]: () => {
        if (!released) this.#holds--;
        released = true;
      },
    };
  }

  has(key: string): boolean {
    return this.#holds > 0 || this.#counts.has(key);
  }

  /** Runs `remove` unless `key` is pinned. Returns whether it ran. */
  async unlessPinned(key: string, remove: () => Promise<void>): Promise<boolean> {
    if (this.has(key) || this.#deleting.has(key)) return false;
    const removing = remove();
    this.#deleting.set(key, removing);
    try {
      await removing;
      return true;
    } finally {
      this.#deleting.delete(key);
    }
  }

  #release(key: string): void {
    const left = (this.#counts.get(key) ?? 0) - 1;
    if (left > 0) this.#counts.set(key, left);
    else this.#counts.delete(key);
  }
}
