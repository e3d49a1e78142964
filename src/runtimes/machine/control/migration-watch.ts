import type { Qmp, QmpEvent } from '../../../host/qmp/qmp.ts';
import { isleError } from '../../../lib/errors.ts';

/** Milliseconds between two looks at how far it is. */
const lookEvery = 200;

/** Milliseconds for the devices' state to come over, and for the new QEMU to be there. */
const patience = 60_000;

/** Follows a migration by the events of both QEMUs, from its construction on. */
export class MigrationWatch implements Disposable {
  readonly #source: Qmp;
  readonly #over = new AbortController();
  readonly #sides: { source: Side; target: Side };

  constructor(source: Qmp, target: Qmp) {
    this.#source = source;
    this.#sides = {
      source: new Side('the old QEMU', source, this.#over.signal),
      target: new Side('the new QEMU', target, this.#over.signal),
    };
  }

  /** Until the sending side is there. Throws `guestFailed` with QEMU's words when it is not going to be, and what `signal` says. */
  async source(
    status: string,
    { signal, onProgress }: { signal?: AbortSignal; onProgress?(done: number, total: number): void },
  ): Promise<void> {
    const done = new AbortController();
    const look = onProgress && setInterval(() => void this.#look(onProgress, done.signal), lookEvery);
    try {
      await this.#either(this.#sides.source.reached(status), signal, signal ? undefined : patience);
    } finally {
      done.abort();
      clearInterval(look);
    }
  }

  async target(status: string): Promise<void> {
    await this.#either(this.#sides.target.reached(status), undefined, patience);
  }

  /** For how long the guest stood still, by the clock of the host that both QEMUs have. */
  async pausedMs(): Promise<number> {
    await this.#either(this.#sides.target.resumed, undefined, patience);
    const { stoppedAt } = this.#sides.source;
    const { resumedAt } = this.#sides.target;
    return stoppedAt === undefined || resumedAt === undefined ? 0 : Math.max(0, resumedAt - stoppedAt) / 1000;
  }

  [Symbol.dispose](): void {
    this.#over.abort();
  }

  /** One side's failure is the other one's, too: the one that knows why is told. */
  async #either(
    reached: Promise<void>,
    signal: AbortSignal | undefined,
    wait: number | undefined,
  ): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const late = (): void => reject(isleError('guestUnresponsive', { what: 'migration', waited: wait ?? 0 }));
    const timer = wait === undefined ? undefined : setTimeout(late, wait);
    try {
      await Promise.race([reached, promise, this.#sides.source.failed, this.#sides.target.failed]);
    } catch (error) {
      throw (await this.#why()) ?? error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async #why(): Promise<Error | undefined> {
    const told = await this.#source
      .execute<Migration>('query-migrate')
      .then((migration) => migration['error-desc'])
      .catch(() => undefined);
    if (typeof told !== 'string') return undefined;
    return isleError('guestFailed', { what: 'move to another QEMU', detail: told.slice(0, 1000) });
  }

  async #look(onProgress: (done: number, total: number) => void, done: AbortSignal): Promise<void> {
    const { ram } = await this.#source.execute<Migration>('query-migrate').catch((): Migration => ({}));
    if (!ram || done.aborted) return;
    onProgress(Math.max(0, ram.total - ram.remaining), ram.total);
  }
}

interface Migration {
  status?: string;
  ram?: { total: number; remaining: number };
  'error-desc'?: string;
}

class Side {
  stoppedAt: number | undefined;
  resumedAt: number | undefined;
  readonly resumed: Promise<void>;
  readonly failed: Promise<never>;
  readonly #seen = new Set<string>();
  readonly #waiting = new Map<string, () => void>();

  constructor(name: string, qmp: Qmp, signal: AbortSignal) {
    const { promise: failed, reject } = Promise.withResolvers<never>();
    const { promise: resumed, resolve } = Promise.withResolvers<void>();
    this.failed = failed;
    this.resumed = resumed;
    failed.catch(() => undefined); // Whoever waits is told.
    const events = qmp.events(signal);
    const fail = (detail: string): void =>
      reject(isleError('guestFailed', { what: 'move to another QEMU', detail }));
    void (async () => {
      for await (const event of events) {
        if (event.event === 'STOP') this.stoppedAt ??= event.at;
        if (event.event === 'RESUME') {
          this.resumedAt ??= event.at;
          resolve();
        }
        if (event.event === 'MIGRATION') this.#onStatus(event, fail);
      }
      if (!signal.aborted) fail(`${name} has ended`);
    })();
  }

  reached(status: string): Promise<void> {
    if (this.#seen.has(status)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.set(status, resolve));
  }

  #onStatus({ data }: QmpEvent, fail: (detail: string) => void): void {
    const status = String(data.status);
    if (status === 'failed' || status === 'cancelled') return fail(`it has ${status}`);
    this.#seen.add(status);
    this.#waiting.get(status)?.();
  }
}
