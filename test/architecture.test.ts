import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

/**
 * Which way things may look: a room, and the rooms whose code it may use. Types of contract files are open to
 * all (see `contracts`). A room that is not named here may not exist.
 */
const mayUse: Record<string, string[]> = {
  lib: [],
  host: ['lib'],
  state: ['lib'],
  images: ['host', 'lib'],
  network: ['host', 'lib'],
  storage: ['host', 'lib'],
  runtimes: ['host', 'lib'],
  engine: ['images', 'network', 'storage', 'runtimes', 'host', 'lib'],
  api: ['engine', 'lib'],
  cli: ['lib'],
  daemon: ['api', 'engine', 'images', 'network', 'storage', 'runtimes', 'state', 'host', 'lib'],
};

const contracts = new Set([
  'src/engine/runtime.ts',
  'src/engine/model.ts',
  'src/engine/machine.ts',
  'src/engine/machines.ts',
  'src/engine/engine.ts',
  'src/engine/events.ts',
  'src/images/images.ts',
  'src/images/appliances.ts',
  'src/images/content-store.ts',
  'src/storage/snapshots.ts',
  'src/storage/disks.ts',
  'src/network/network.ts',
]);

/** Single edges that the table does not allow, each with its reason. */
const exceptions: Record<string, string> = {
  'src/cli/commands/doctor.ts → src/host/doctor/doctor.ts': 'the doctor must work when no engine does',
};

type Import = { from: string; to: string; typeOnly: boolean };

const root = join(import.meta.dirname, '..');
const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !file.endsWith('.test.ts'));
const imports = files.flatMap((file) => importsOf(file));

test('every import looks the way the plan allows', () => {
  const wrong = imports
    .filter(({ from, to, typeOnly }) => !allowed(from, to, typeOnly) && !(`${from} → ${to}` in exceptions))
    .map(({ from, to }) => `${from} → ${to}`);
  assert.deepEqual(wrong, []);
});

test('the check saw the house', () => {
  assert.ok(files.length > 20, `only ${files.length} source files found`);
  assert.ok(imports.length > files.length, `only ${imports.length} imports found in ${files.length} files`);
  for (const file of files)
    assert.ok(room(file) in mayUse, `${file} is in a room that the plan does not know`);
});

test('every exception is still used', () => {
  const edges = new Set(imports.map(({ from, to }) => `${from} → ${to}`));
  for (const edge of Object.keys(exceptions))
    assert.ok(edges.has(edge), `${edge} is gone: remove its exception`);
});

test('no import goes round in a circle between rooms', () => {
  for (const [name, used] of Object.entries(mayUse)) {
    for (const other of used)
      assert.ok(!mayUse[other]?.includes(name), `${name} and ${other} use each other`);
  }
});

test('no file is over 800 lines', () => {
  const sources = globSync('{src,test,bench,scripts,native,console}/**/*.{ts,tsx,c,h,sh}', { cwd: root });
  const long = sources.filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > 801);
  assert.deepEqual(long, []);
});

function allowed(from: string, to: string, typeOnly: boolean): boolean {
  if (room(from) === room(to)) return true;
  if (typeOnly && contracts.has(to)) return true;
  return mayUse[room(from)]?.includes(room(to)) ?? false;
}

function room(file: string): string {
  return file.split('/')[1] ?? '';
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found: Import[] = [];
  const pattern =
    /(?:^|\n)\s*(import|export)\s+(type\s)?[^'";]*?from\s+'(\.[^']+)'|import\(\s*'(\.[^']+)'\s*\)/g;
  for (const match of text.matchAll(pattern)) {
    const target = match[3] ?? match[4];
    if (!target) continue;
    const to = normalize(join(dirname(file), target));
    found.push({ from: file, to, typeOnly: match[2] !== undefined });
  }
  return found;
}
