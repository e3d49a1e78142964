/**
 * What a room of the house needs of the database: named tables of JSON documents by key.
 *
 * `state/` implements it on SQLite with a write-through cache, so that reads are memory reads and a write that
 * returned survives `kill -9`. Values are plain JSON; a caller must not mutate what it got (put a copy back).
 */
export interface Table<T> {
  get(key: string): T | undefined;
  put(key: string, value: T): void;
  delete(key: string): void;
  /** All values, in the order in which their keys were first put. */
  all(): T[];
}

export interface Store {
  table<T>(name: string): Table<T>;
  /** Runs `change` as one transaction: all of its puts and deletes survive a crash, or none does. Synchronous. */
  transaction<R>(change: () => R): R;
}

/** The in-memory store: for unit tests, and for the conformance suites beside the real one. */
export function memoryStore(): Store {
  const tables = new Map<string, Map<string, unknown>>();
  return {
    table<T>(name: string): Table<T> {
      let rows = tables.get(name) as Map<string, T> | undefined;
      if (!rows) tables.set(name, (rows = new Map<string, T>()) as Map<string, unknown>);
      const found = rows;
      return {
        get: (key) => found.get(key),
        put: (key, value) => void found.set(key, value),
        delete: (key) => void found.delete(key),
        all: () => [...found.values()],
      };
    },
    transaction(change) {
      const before = new Map([...tables].map(([name, rows]) => [name, new Map(rows)]));
      try {
        return change();
      } catch (error) {
        for (const [name, rows] of tables) {
          rows.clear();
          for (const [key, value] of before.get(name) ?? []) rows.set(key, value);
        }
        throw error;
      }
    },
  };
}
