import type { ContainerSpec } from '../../engine/model.ts';
import type { TakenIds, Workload } from '../../engine/runtime.ts';
import { readPodLinks } from '../../host/guest-record.ts';
import { messageOf } from '../../lib/errors.ts';
import type { MicrovmParts } from './parts.ts';
import { bootReadyGuest, endReadyGuest, type ReadyGuest } from './ready-guest.ts';
import { type GuestSize, sizeOf } from './resources.ts';

/** Milliseconds from a container's creation to its start in which a guest waits for it. */
const promiseTime = 15_000;

/** Milliseconds before another try when a guest did not boot: twice as many each time, up to the most. */
const retryTime = { first: 1000, most: 60_000 };

/**
 * Guests that have booted and wait for a workload: one that is created for a container of the usual size gets the ids of
 * a waiting guest, and starts in it. Whoever comes when none is left boots one of his own.
 */
export class GuestPool {
  #parts: MicrovmParts;
  #ids: (() => Promise<TakenIds>) | undefined;
  #ready: ReadyGuest[] = [];
  /** Those whose ids a container has, by the first of them. */
  #promised = new Map<number, { guest: ReadyGuest; timer: NodeJS.Timeout }>();
  #closed = new AbortController();
  #filling: Promise<void> | undefined;
  #retryTime = retryTime.first;
  #retry: NodeJS.Timeout | undefined;
  #ending = new Set<Promise<void>>();

  constructor(parts: MicrovmParts) {
    this.#parts = parts;
  }

  /** Boots as many as configured, one after the other, and another one for each that is taken. */
  keep(ids: () => Promise<TakenIds>): void {
    this.#ids = ids;
    this.#fill();
  }

  offer(spec: ContainerSpec): TakenIds | undefined {
    if (!this.#suits(spec)) return undefined;
    const guest = this.#ready.shift();
    if (!guest) return undefined;
    const { map } = guest.ids;
    const timer = setTimeout(() => {
      this.#promised.delete(map.hostId);
      this.#end(guest);
    }, promiseTime).unref();
    this.#promised.set(map.hostId, { guest, timer });
    // Until it is taken or given up, the pool's own claim holds.
    return { map, [Symbol.dispose]: () => {} };
  }

  /** The guest that was promised for these ids, if it is still there and can run this. */
  async take({ idMap, ...workload }: Workload, size: GuestSize): Promise<ReadyGuest | undefined> {
    const promised = idMap && this.#promised.get(idMap.hostId);
    if (!promised) return undefined;
    const { guest, timer } = promised;
    clearTimeout(timer);
    this.#promised.delete(idMap.hostId);
    const cards = await cardsFor(workload).catch(() => Number.POSITIVE_INFINITY); // Who wires one says why.
    if (guest.over || cards > 1 || !fits(workload, guest, size)) {
      this.#end(guest);
      return undefined;
    }
    guest.ids[Symbol.dispose]();
    this.#fill();
    return guest;
  }

  /** Ends those that nobody has. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#filling;
    clearTimeout(this.#retry);
    for (const { guest, timer } of this.#promised.values()) {
      clearTimeout(timer);
      this.#end(guest);
    }
    for (const guest of this.#ready.splice(0)) this.#end(guest);
    this.#promised.clear();
    await Promise.all(this.#ending);
  }

  /** What can be told before it is made; the rest is seen when it starts. */
  #suits({ resources, openStdin, stdinOnce, tty, cgroupParent, logConfig, oomScoreAdj }: ContainerSpec) {
    const { config, host } = this.#parts;
    if (config.pool === 0 || (openStdin && (!stdinOnce || tty))) return false;
    if (cgroupParent !== '' || logConfig.driver === 'none' || oomScoreAdj) return false;
    const usual = sizeOf({}, config, host.accelerator);
    try {
      return same(sizeOf(resources, config, host.accelerator), usual);
    } catch {
      return false; // Too little memory: create says so.
    }
  }

  #fill(): void {
    this.#filling ??= this.#bootMissing().finally(() => (this.#filling = undefined));
  }

  async #bootMissing(): Promise<void> {
    const { config, log } = this.#parts;
    while (this.#ids && !this.#closed.signal.aborted && this.#ready.length < config.pool) {
      try {
        this.#add(await bootReadyGuest(this.#parts, await this.#ids(), this.#closed.signal));
        this.#retryTime = retryTime.first;
      } catch (error) {
        if (this.#closed.signal.aborted) return;
        log.warn({ err: error }, `a guest of the pool did not boot: ${messageOf(error)}`);
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.#fill(), this.#retryTime).unref();
        this.#retryTime = Math.min(2 * this.#retryTime, retryTime.most);
        return;
      }
    }
  }

  #add(guest: ReadyGuest): void {
    this.#ready.push(guest);
    guest.ended.then(
      () => this.#lost(guest),
      () => this.#lost(guest),
    );
  }

  /** Its monitor died while it waited. */
  #lost(guest: ReadyGuest): void {
    guest.over = true;
    const index = this.#ready.indexOf(guest);
    if (index < 0) return;
    this.#ready.splice(index, 1);
    this.#end(guest);
  }

  #end(guest: ReadyGuest): void {
    const ending = endReadyGuest(this.#parts, guest)
      .catch((error: unknown) =>
        this.#parts.log.error({ err: error }, `a guest of the pool was not removed: ${messageOf(error)}`),
      )
      .finally(() => {
        this.#ending.delete(ending);
        if (!this.#closed.signal.aborted) this.#fill();
      });
    this.#ending.add(ending);
  }
}

function fits(workload: Omit<Workload, 'idMap'>, guest: ReadyGuest, size: GuestSize): boolean {
  const { stdin, stdinOnce, tty, cgroupParent, logPath, oomScoreAdj } = workload;
  if (!same(guest.size, size) || (stdin && (!stdinOnce || tty))) return false;
  return cgroupParent === '' && logPath !== undefined && !oomScoreAdj;
}

/** How many network cards it needs: a guest that waits has one. */
async function cardsFor({ netns }: Pick<Workload, 'netns'>): Promise<number> {
  return netns === undefined ? 0 : (await readPodLinks(netns)).cables.length;
}

function same(a: GuestSize, b: GuestSize): boolean {
  return a.memory === b.memory && a.cpus === b.cpus;
}
