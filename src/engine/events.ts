/**
 * Typed, ordered and persisted with a bound: every API's event stream reads this one.
 * Types and actions are Docker's (`container` create/start/die/…, `image` pull/…, `network`, `volume`, `daemon`).
 */
export interface EngineEvent {
  /** Grows by one with each event and never repeats, across restarts too. */
  sequence: number;
  type: 'container' | 'image' | 'network' | 'volume' | 'daemon';
  action: string;
  actor: { id: string; attributes: Record<string, string> };
  /** Nanoseconds since 1970, as a decimal string (it does not fit a double). */
  timeNano: string;
}

export interface EventFilter {
  /** Nanoseconds since 1970 as decimal strings. */
  since?: string;
  until?: string;
  /** Values of one key OR, different keys AND; see Docker's `events` filters. */
  filters: Record<string, string[]>;
}

export interface Events {
  publish(type: EngineEvent['type'], action: string, id: string, attributes: Record<string, string>): void;
  /** Past events that match, oldest first. */
  past(filter: EventFilter): EngineEvent[];
  /** Calls `listener` for each matching event from now on; returns the way to stop. */
  subscribe(filter: EventFilter, listener: (event: EngineEvent) => void): () => void;
}
