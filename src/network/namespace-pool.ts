import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { NetworkJob } from '../host/network-job.ts';
import { deleteLinks } from '../host/netlink.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** A prepared network namespace, not yet anyone's. */
export interface Slot {
  /** Its file in the netns directory; no two ever have the same. */
  namespace: string;
  /** Cables it has already, by their ends on the host. */
  hostLinks: string[];
  ipv4?: string;
  ipv6?: string;
  /** Resolver sockets that listen inside. */
  resolver?: { port: number; udp: number; tcp: number };
}

export interface SlotKind {
  /** How many to keep ready. */
  size: number;
  build(namespace: string): Promise<Slot>;
  /** Gives back what the record of a slot held: addresses, sockets. */
  release(slot: Slot): void;
}

/**
 * Namespaces made in advance, so that a start waits for none. Making one is about a millisecond of kernel time:
 * it waits until starts pause, unless few are left. They are in no table: after a crash, whatever namespace
 * belongs to no pod is removed.
 */
export class NamespacePool {
  readonly #directory: string;
  readonly #kind: SlotKind;
  readonly #log: Logger;
  #ready: Slot[] = [];
  #refilling: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: { directory: string; kind: SlotKind; log: Logger }) {
    this.#directory = options.directory;
    this.#kind = options.kind;
    this.#log = options.log;
  }

  /** How many are ready. */
  get ready(): number {
    return this.#ready.length;
  }

  /** One that is ready; undefined when there is none: build one then. Never waits. */
  take(): Slot | undefined {
    const slot = this.#ready.shift();
    this.#schedule();
    return slot;
  }

  /** The one that holds `address`, when it is here. */
  takeWith(address: string): Slot | undefined {
    const found = this.#ready.find(({ ipv4, ipv6 }) => ipv4 === address || ipv6 === address);
    if (!found) return undefined;
    this.#ready = this.#ready.filter((slot) => slot !== found);
    this.#schedule();
    return found;
  }

  build(): Promise<Slot> {
    return this.#kind.build(newNamespaceName());
  }

  /** Fills the pool now. */
  fill(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#refilling ??= this.#refill().finally(() => {
      this.#refilling = undefined;
    });
    return this.#refilling;
  }

  /** What is ready, once nothing is being built. */
  async settled(): Promise<readonly Slot[]> {
    await this.#refilling;
    return this.#ready;
  }

  /** Removes what nobody took. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#refilling;
    const slots = this.#ready;
    this.#ready = [];
    for (const slot of slots) this.#kind.release(slot);
    await deleteLinks(slots.flatMap((slot) => slot.hostLinks));
    const job = new NetworkJob();
    for (const slot of slots) job.remove(join(this.#directory, slot.namespace));
    await job.run();
  }

  #schedule(): void {
    if (this.#closed || this.#refilling || this.#ready.length >= this.#kind.size) return;
    if (this.#ready.length * 2 < this.#kind.size) {
      void this.fill();
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.fill(), 100);
    this.#timer.unref();
  }

  async #refill(): Promise<void> {
    try {
      while (!this.#closed && this.#ready.length < this.#kind.size) this.#ready.push(await this.build());
    } catch (error) {
      // The next start builds its own and hears the reason, if there still is one.
      this.#log.warn({ err: error }, `no network namespace could be prepared: ${messageOf(error)}`);
    }
  }
}

function newNamespaceName(): string {
  return randomBytes(8).toString('hex');
}
