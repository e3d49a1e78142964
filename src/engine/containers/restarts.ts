import { messageOf } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { Exit } from '../runtime.ts';
import type { ContainerRecord } from './record.ts';
import { restartDelay } from './restart-policy.ts';
import { launch } from './start.ts';

/** Restarts by the policy that are due, and how long the last delay of each container was. */
export class Restarts {
  #ctx: EngineContext;
  #delays = new Map<string, number>();
  #timers = new Map<string, NodeJS.Timeout>();

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  /** The delay (milliseconds) before the policy brings it up again, or undefined. */
  next(
    record: ContainerRecord,
    exit: Pick<Exit, 'code' | 'power'>,
    ranFor: number,
    endRequested: boolean,
  ): number | undefined {
    const delay = restartDelay({
      policy: record.spec.restartPolicy,
      exitCode: exit.code,
      power: exit.power,
      restartCount: record.state.restartCount,
      stoppedByUser: endRequested,
      ranFor,
      lastDelay: this.#delays.get(record.id) ?? 0,
    });
    if (delay !== undefined) this.#delays.set(record.id, delay);
    return delay;
  }

  /** Brings it up at once, unless it is not to be restarted any more. Resolves when that has been tried. */
  now(id: string): Promise<void> {
    this.#clear(id);
    return this.#restart(id);
  }

  schedule(id: string, delay: number): void {
    this.#clear(id);
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      this.#ctx.background.run(`the restart of container ${id}`, () => this.#restart(id));
    }, delay);
    this.#timers.set(id, timer);
  }

  /** Forgets a restart that is due, and how often there were others. True when one was due. */
  reset(id: string): boolean {
    this.#delays.delete(id);
    return this.#clear(id);
  }

  /** The engine closes: nothing starts any more; the next engine sees `restarting` and goes on. */
  close(): void {
    for (const id of [...this.#timers.keys()]) this.#clear(id);
  }

  #clear(id: string): boolean {
    const timer = this.#timers.get(id);
    clearTimeout(timer);
    return this.#timers.delete(id);
  }

  async #restart(id: string): Promise<void> {
    const ctx = this.#ctx;
    await ctx.queue.run(id, async () => {
      const record = ctx.records.get(id);
      if (record?.state.phase !== 'restarting' || ctx.closing.aborted) return;
      const restartCount = record.state.restartCount + 1;
      try {
        await launch(ctx, record, { restartCount });
      } catch (error) {
        ctx.log.warn({ container: id, err: error }, `restart by the policy failed: ${messageOf(error)}`);
        this.#afterFailure(id, restartCount);
      }
    });
  }

  /** A start that failed counts as a run that failed at once. */
  #afterFailure(id: string, restartCount: number): void {
    const { records, waiters } = this.#ctx;
    const record = records.get(id);
    if (!record) return;
    const counted = records.changeState(id, { restartCount });
    const delay = this.next(counted, { code: record.state.exitCode }, 0, record.state.stoppedByUser);
    if (delay === undefined)
      return waiters.exited(id, { code: record.state.exitCode, error: record.state.error });
    records.changeState(id, { phase: 'restarting' });
    this.schedule(id, delay);
  }
}
