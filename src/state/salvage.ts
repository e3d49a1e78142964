import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/**
 * Copies what is still readable of a damaged database into a fresh one, document by document; returns how many.
 * A damaged page costs the documents on it and no others.
 */
export function salvage(damagedPath: string, into: DatabaseSync): number {
  if (!existsSync(damagedPath)) return 0;
  let damaged: DatabaseSync;
  try {
    damaged = new DatabaseSync(damagedPath, { timeout: 1000 });
  } catch {
    return 0; // nothing in it can be read: the caller already says where the file lies
  }
  const put = into.prepare('INSERT OR IGNORE INTO documents (collection, key, value) VALUES (?, ?, ?)');
  let count = 0;
  into.exec('BEGIN IMMEDIATE');
  for (const row of readable(damaged)) {
    if (!isDocument(row.value)) continue;
    put.run(row.collection, row.key, row.value);
    count++;
  }
  into.exec('COMMIT');
  damaged.close();
  return count;
}

interface Row {
  collection: string;
  key: string;
  value: string;
}

/** Walks by position from both sides: a damaged page stops a walk, and the other side reads what lies behind it. */
function* readable(database: DatabaseSync): Generator<Row> {
  for (const order of ['ASC', 'DESC']) {
    try {
      const rows = database
        .prepare(`SELECT collection, key, value FROM documents ORDER BY position ${order}`)
        .iterate();
      for (const row of rows) {
        yield { collection: String(row.collection), key: String(row.key), value: String(row.value) };
      }
      return;
    } catch {
      // this side ends here: the other one may still read
    }
  }
}

function isDocument(value: string): boolean {
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}
