import { applyRuleset, changeElements, deleteTable, type ElementChange } from '../host/nftables.ts';
import { watchTable, type TableWatch } from '../host/nftables-watch.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Logger } from '../lib/log.ts';
import { change, rulesetScript, type Element } from './ruleset.ts';

/**
 * The instance's nftables table. It knows every element that should be in it; changes that come together go to the
 * kernel as one transaction, and when the kernel has something else, or somebody flushed it, the whole table is put
 * back, again in one transaction.
 */
export class Firewall {
  readonly #table: string;
  readonly #log: Logger;
  readonly #wanted = new Map<string, Element>();
  #pending: ElementChange[] = [];
  #flushing: Promise<void> | undefined;
  #tail: Promise<void> = Promise.resolve();
  #watch: TableWatch | undefined;
  #closed = false;

  constructor(options: { table: string; log: Logger }) {
    this.#table = options.table;
    this.#log = options.log;
  }

  /** Puts the whole table in place. `elements` are all that should be in it. */
  async start(elements: readonly Element[]): Promise<void> {
    this.#wanted.clear();
    for (const element of elements) this.#wanted.set(keyOf(element), element);
    this.#watch ??= await watchTable(this.#table, () => this.#onDeleted());
    await this.#exclusive(() => this.#replace());
  }

  /** Resolves when the elements are in force; rejects when the kernel did not take them, and then none is. */
  async add(elements: readonly Element[]): Promise<void> {
    if (elements.length === 0) return;
    for (const element of elements) this.#wanted.set(keyOf(element), element);
    this.#pending.push(...elements.map((element) => change('add', element)));
    try {
      await this.#flush();
    } catch (error) {
      for (const element of elements) this.#wanted.delete(keyOf(element));
      throw error;
    }
  }

  /** Resolves when they are gone; those that are not there are fine. */
  async remove(elements: readonly Element[]): Promise<void> {
    const known = elements.filter((element) => this.#wanted.delete(keyOf(element)));
    if (known.length === 0) return;
    this.#pending.push(...known.map((element) => change('delete', element)));
    await this.#flush();
  }

  /** Stops watching. The rules stay. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#watch?.close();
    this.#watch = undefined;
    await this.#tail;
  }

  /** Takes the table away, after {@link close}. */
  async removeTable(): Promise<void> {
    await deleteTable(this.#table);
  }

  /** All callers of one turn share a transaction. */
  #flush(): Promise<void> {
    this.#flushing ??= this.#exclusive(async () => {
      this.#flushing = undefined;
      const changes = this.#pending;
      this.#pending = [];
      failpoint('network.rules.before');
      try {
        await changeElements(this.#table, changes);
      } catch (error) {
        this.#log.warn({ err: error }, 'the nftables table was not as expected: it is put back whole');
        await this.#replace();
      }
      failpoint('network.rules.after');
    });
    return this.#flushing;
  }

  async #replace(): Promise<void> {
    this.#pending = [];
    failpoint('network.table.before');
    await applyRuleset(rulesetScript(this.#table, [...this.#wanted.values()]));
    failpoint('network.table.after');
    if (this.#watch?.drain()) this.#onDeleted();
  }

  #onDeleted(): void {
    if (this.#closed) return;
    this.#log.warn('somebody removed the nftables table (a firewall was reloaded?): it is put back');
    this.#exclusive(() => this.#replace()).catch((error: unknown) =>
      this.#log.error({ err: error }, 'the nftables table could not be put back'),
    );
  }

  #exclusive(work: () => Promise<void>): Promise<void> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {});
    return result;
  }
}

function keyOf({ set, key }: Element): string {
  return `${set} ${key.toString('base64')}`;
}
