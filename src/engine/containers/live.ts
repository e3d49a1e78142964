import type { Exit } from '../runtime.ts';

/**
 * What this process knows of a container that is up (or about to come up again): nothing here must outlive the
 * daemon, recovery builds it anew.
 */
export class LiveContainer {
  /** Monotonic milliseconds. */
  readonly startedAt = performance.now();
  /** Resolves when the exit has been dealt with: record written, network and mounts given back. */
  readonly ended: Promise<Exit>;
  readonly settle: (exit: Exit) => void;
  /** Somebody asked for the end: no restart by the policy. */
  endRequested = false;
  /** The end is the first half of `restart`: neither the policy nor auto-remove has a say. */
  restarting = false;
  /** What to stop when it ends: health checks, log rotation. */
  readonly #stops: (() => void)[] = [];
  readonly #done = new Set<string>();

  constructor() {
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.ended = promise;
    this.settle = resolve;
  }

  /** Runs a step of the end, unless it has succeeded before. */
  async once(step: string, work: () => Promise<void>): Promise<void> {
    if (this.#done.has(step)) return;
    await work();
    this.#done.add(step);
  }

  onEnd(stop: () => void): void {
    this.#stops.push(stop);
  }

  stopHelpers(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }
}
