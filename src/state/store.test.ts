import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
  openSync,
  writeSync,
  closeSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isIsleError } from '../lib/errors.ts';
import { migrations } from './schema.ts';
import { openStore } from './store.ts';

function directory(t: { after(fn: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'isle-state-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('what was put is there after opening again, in the order of first puts', (t) => {
  const path = join(directory(t), 'isle.db');
  const first = openStore(path);
  const table = first.table<{ n: number }>('things');
  table.put('b', { n: 1 });
  table.put('a', { n: 2 });
  table.put('b', { n: 3 });
  table.put('c', { n: 4 });
  table.delete('a');
  assert.deepEqual(table.all(), [{ n: 3 }, { n: 4 }]);
  first.close();
  const second = openStore(path);
  assert.deepEqual(second.table('things').all(), [{ n: 3 }, { n: 4 }]);
  assert.equal(second.table('others').get('b'), undefined);
  second.close();
});

test('a failed transaction changes nothing, neither on disk nor in memory', (t) => {
  const path = join(directory(t), 'isle.db');
  const store = openStore(path);
  const table = store.table<number>('numbers');
  table.put('kept', 1);
  assert.throws(() =>
    store.transaction(() => {
      table.put('kept', 2);
      table.delete('kept');
      table.put('new', 3);
      store.transaction(() => table.put('inner', 4));
      throw new Error('no');
    }),
  );
  assert.deepEqual(table.all(), [1]);
  store.transaction(() => table.put('new', 5));
  store.close();
  assert.deepEqual(openStore(path).table('numbers').all(), [1, 5]);
});

test('an older schema is upgraded and its documents are kept', (t) => {
  const path = join(directory(t), 'isle.db');
  const old = openStore(path);
  old.table<string>('names').put('x', 'before');
  old.close();
  const next = openStore(path, [
    ...migrations,
    (database) => database.exec(`UPDATE documents SET value = '"after"' WHERE collection = 'names'`),
  ]);
  assert.equal(next.table('names').get('x'), 'after');
  next.close();
});

test('a newer schema is refused with both versions in the message', (t) => {
  const path = join(directory(t), 'isle.db');
  openStore(path).close();
  const database = new DatabaseSync(path);
  database.exec('PRAGMA user_version = 99');
  database.close();
  assert.throws(
    () => openStore(path),
    (error) => isIsleError(error, 'newerDatabase') && /99/.test(error.message) && /newer/.test(error.message),
  );
});

test('a file that is no database is set aside, not deleted, and a fresh one is made', (t) => {
  const root = directory(t);
  const path = join(root, 'isle.db');
  writeFileSync(path, 'this is not a database at all, not by any means'.repeat(100));
  const store = openStore(path);
  assert.ok(store.setAside);
  assert.equal(store.setAside.documents, 0);
  store.table<number>('numbers').put('a', 1);
  store.close();
  assert.ok(readdirSync(root).some((name) => name.startsWith('isle.db.damaged-')));
  assert.equal(openStore(path).table('numbers').get('a'), 1);
});

test('a damaged page costs only the documents on it', (t) => {
  const path = join(directory(t), 'isle.db');
  const store = openStore(path);
  const table = store.table<string>('texts');
  for (let i = 0; i < 400; i++) table.put(`k${i}`, `${i}`.padEnd(600, 'x'));
  store.close();
  const page = Math.floor(readFileSync(path).indexOf('"200xxx') / 4096);
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(4096, 0xa5), 0, 4096, 4096 * page);
  closeSync(file);
  const again = openStore(path);
  assert.ok(again.setAside);
  assert.ok(again.setAside.documents > 300, `${again.setAside.documents} documents kept`);
  assert.equal(again.table<string>('texts').get('k399')?.trimEnd().slice(0, 3), '399');
  again.close();
});

test('of a database of which nothing can be read the last backup is kept', async (t) => {
  const path = join(directory(t), 'isle.db');
  const store = openStore(path);
  store.table<number>('numbers').put('a', 1);
  await store.backup();
  store.table<number>('numbers').put('b', 2);
  store.close();
  writeFileSync(path, 'nothing of a database'.repeat(1000));
  const again = openStore(path);
  assert.equal(again.setAside?.documents, 1);
  assert.deepEqual(again.table('numbers').all(), [1]);
  again.close();
});

test('only its owner may read the database, its log and its backup', async (t) => {
  const root = directory(t);
  const store = openStore(join(root, 'isle.db'));
  store.table<number>('numbers').put('a', 1);
  await store.backup();
  for (const name of readdirSync(root)) assert.equal(statSync(join(root, name)).mode & 0o777, 0o600, name);
  store.close();
});

test('on a full disk there is room for some hundred changes more, then a clear word', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'isle-state-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', root]);
  t.after(() => {
    execFileSync('umount', ['-l', root]);
    rmSync(root, { recursive: true });
  });
  const store = openStore(join(root, 'isle.db'));
  const table = store.table<string>('texts');
  for (let i = 0; i < 20; i++) table.put(`kept${i}`, 'x'.repeat(2000));
  await sleep(1100); // the room is made when nobody writes
  fillDisk(join(root, 'ballast'));
  for (let i = 0; i < 20; i++) table.delete(`kept${i}`);
  for (let round = 0; round < 20; round++)
    for (let i = 0; i < 20; i++) table.put(`new${i}`, 'y'.repeat(2000));
  assert.equal(table.all().length, 20);
  assert.throws(
    () => {
      for (let i = 0; i < 5000; i++) table.put(`more${i}`, 'z'.repeat(2000));
    },
    (error) => isIsleError(error, 'diskFull'),
  );
  store.close();
});

function fillDisk(path: string): void {
  const file = openSync(path, 'w');
  const block = Buffer.alloc(4096);
  try {
    for (;;) writeSync(file, block);
  } catch {
    closeSync(file);
  }
}
