import { type IsleError, isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { ContainerRecord } from './record.ts';
import { titleOf } from './records.ts';

const sigkill = 9;

/** A start under way. Disposing of it says that it is over, one way or the other. */
export class Starting implements Disposable {
  readonly over: Promise<void>;
  /** Somebody gave it up. */
  given = false;
  #title: string;
  #end: () => void;

  constructor(record: ContainerRecord, onEnd: () => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#title = titleOf(record);
    this.#end = () => {
      onEnd();
      resolve();
    };
  }

  /** Throws when it was given up meanwhile. */
  check(): void {
    if (this.given) throw this.gaveUp();
  }

  gaveUp(cause?: unknown): IsleError {
    return isleError('conflict', { message: `container ${this.#title} was stopped while it started` }, cause);
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}

/**
 * Starts hold their container's queue, and one that boots a kernel takes seconds (or, with a guest that hangs, as long
 * as its runtime waits): who wants the container down does not wait for that.
 */
export class Starts {
  #ctx: EngineContext;
  #under = new Map<string, Starting>();

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  begin(record: ContainerRecord): Starting {
    const starting = new Starting(record, () => this.#under.delete(record.id));
    this.#under.set(record.id, starting);
    return starting;
  }

  /** Ends a boot under way and waits until it is undone. False when there is none; a start of milliseconds is none. */
  async giveUp(id: string): Promise<boolean> {
    const ctx = this.#ctx;
    const starting = this.#under.get(id);
    const record = ctx.records.get(id);
    const runtime = record && ctx.runtimes.get(record.runtimeName);
    if (!starting || !runtime?.traits.ownKernel) return false;
    starting.given = true;
    // Before `create` is through there is nothing to kill: the start itself looks after it.
    await runtime.signal(id, sigkill).catch((error: unknown) => {
      ctx.log.debug({ container: id, err: error }, 'nothing to kill yet');
    });
    await starting.over;
    return true;
  }
}
