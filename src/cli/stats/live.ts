import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../client/errors.ts';
import type { Context } from '../context.ts';
import { containerPath } from '../each-name.ts';
import { type Sample, type StatsAnswer, toSample } from './sample.ts';

/** Follows the statistics of a changing set of containers and shows them once a second, until Ctrl-C. */
export class LiveStats {
  readonly #context: Context;
  readonly #list: () => Promise<readonly string[]>;
  readonly #show: (samples: readonly Sample[]) => Promise<void>;
  /** Named containers must exist; a list of what runs may change at any time. */
  readonly #named: boolean;
  readonly #abort = new AbortController();
  #failure: { error: unknown } | undefined;
  readonly #samples = new Map<string, Sample>();
  readonly #following = new Map<string, Promise<void>>();

  constructor(
    context: Context,
    list: () => Promise<readonly string[]>,
    show: (samples: readonly Sample[]) => Promise<void>,
    named: boolean,
  ) {
    this.#context = context;
    this.#list = list;
    this.#show = show;
    this.#named = named;
  }

  async run(): Promise<void> {
    const { out } = this.#context;
    const stop = () => this.#abort.abort();
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
    if (out.isTerminal) out.write('\x1b[?25l\x1b[2J');
    try {
      await this.#loop();
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    } finally {
      this.#abort.abort();
      if (out.isTerminal) out.write('\x1b[?25h');
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      await Promise.allSettled(this.#following.values());
    }
    if (this.#failure) throw this.#failure.error;
  }

  async #loop(): Promise<void> {
    const { out } = this.#context;
    const { signal } = this.#abort;
    for (let round = 0; !signal.aborted; round++) {
      const names = await this.#list();
      for (const name of names) if (!this.#following.has(name)) this.#follow(name);
      for (const name of this.#samples.keys()) if (!names.includes(name)) this.#samples.delete(name);
      // The first numbers take two samples; a listing full of dashes helps nobody.
      if (round === 0) await sleep(out.isTerminal ? 300 : 1200, undefined, { signal });
      if (out.isTerminal) out.write('\x1b[H\x1b[0J');
      await this.#show([...this.#samples.values()]);
      await sleep(1000, undefined, { signal });
    }
  }

  #follow(name: string): void {
    this.#samples.set(name, { container: name, id: name, name: '' });
    const work = this.#read(name).finally(() => {
      this.#following.delete(name);
    });
    this.#following.set(name, work);
  }

  async #read(name: string): Promise<void> {
    const { signal } = this.#abort;
    try {
      const lines = this.#context.client.lines<StatsAnswer>('GET', `${containerPath(name)}/stats`, {
        query: { stream: true },
        signal,
      });
      for await (const answer of lines) this.#samples.set(name, toSample(name, answer));
      this.#samples.delete(name);
    } catch (error) {
      this.#samples.delete(name);
      if (signal.aborted || (!this.#named && error instanceof ApiError)) return;
      this.#failure ??= { error };
      this.#abort.abort();
    }
  }
}
