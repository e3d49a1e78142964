import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Store, Table } from '../lib/table.ts';
import { matchesEvent } from './event-filter.ts';
import type { EngineEvent, EventFilter, Events } from './events.ts';
import { nowNanoseconds } from './time.ts';

/** How many past events are kept. */
const bound = 2048;

/** Characters of an action: those of execs name the whole command. */
const longestAction = 16 * 1024;

/** The events of this engine: numbered, persisted in a ring of `bound` rows, handed to whoever listens. */
export class EventLog implements Events {
  #table: Table<EngineEvent>;
  /** Oldest first. */
  #kept: EngineEvent[];
  #listeners = new Set<{ filter: EventFilter; listener: (event: EngineEvent) => void }>();
  #sequence: number;
  #log: Logger;

  constructor(store: Store, log: Logger) {
    this.#log = log;
    this.#table = store.table<EngineEvent>('events');
    this.#kept = this.#table.all().sort((a, b) => a.sequence - b.sequence);
    this.#sequence = this.#kept.at(-1)?.sequence ?? 0;
  }

  publish(type: EngineEvent['type'], action: string, id: string, attributes: Record<string, string>): void {
    const sequence = ++this.#sequence;
    const event: EngineEvent = {
      sequence,
      type,
      action: action.slice(0, longestAction),
      actor: { id, attributes },
      timeNano: String(nowNanoseconds()),
    };
    this.#table.put(String(sequence % bound), event);
    this.#kept.push(event);
    if (this.#kept.length > bound + 256) this.#kept.splice(0, this.#kept.length - bound);
    for (const { filter, listener } of this.#listeners)
      if (matchesEvent(event, filter)) this.#tell(listener, event);
  }

  past(filter: EventFilter): EngineEvent[] {
    return this.#kept.slice(-bound).filter((event) => matchesEvent(event, filter));
  }

  subscribe(filter: EventFilter, listener: (event: EngineEvent) => void): () => void {
    const entry = { filter, listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  #tell(listener: (event: EngineEvent) => void, event: EngineEvent): void {
    try {
      listener(event);
    } catch (error) {
      // One listener's failure is not the failure of the operation that published.
      this.#log.error({ err: error }, `an event listener failed: ${messageOf(error)}`);
    }
  }
}
