import type { DatabaseSync } from 'node:sqlite';

/**
 * The steps from one version of the database to the next: step N brings a database of version N to N + 1. A
 * released step is never changed, only followed by another.
 */
export type Migration = (database: DatabaseSync) => void;

export const migrations: readonly Migration[] = [
  (database) =>
    database.exec(`
      CREATE TABLE documents (
        position INTEGER PRIMARY KEY,
        collection TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        UNIQUE (collection, key)
      ) STRICT;
    `),
];

/** Marks the file as Isle's (`PRAGMA application_id`): "Isle" in ASCII. */
export const applicationId = 0x49736c65;
