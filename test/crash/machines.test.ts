import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { FakeEngine } from '../fixtures/fake-engine.ts';
import { openMachines } from '../fixtures/fake-machines.ts';

const root = join(import.meta.dirname, '../..');

/** What a machine's life from its creation to its removal passes; what stands above that has crash tests of its own. */
const passed =
  /^(machines\.create|engine\.(start\.|runtime-|release\.|remove\.|sweep\.)|disk\.(create|import|make|publish|remove|overlay|clone)\.)/;

const points = [
  ...new Set(
    globSync(['src/engine/**/*.ts', 'src/storage/disks/**/*.ts'], { cwd: root })
      .filter((file) => !file.endsWith('.test.ts'))
      .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)])
      .flatMap((match) => match[1] ?? [])
      .filter((name) => passed.test(name)),
  ),
];

describe('an engine killed in the middle of a machine’s life', { concurrency: 2 }, () => {
  assert.ok(points.length > 12, `only ${points.length} failpoints were found`);
  for (const point of ['none', ...points]) test(`at ${point}`, () => endedAt(point, 'kill'));
});

describe('an engine whose disk is full in the middle of a machine’s life', { concurrency: 2 }, () => {
  // Ends are tried again for a long while, as of any container.
  for (const point of points.filter((name) => !name.startsWith('engine.release.')))
    test(`at ${point}`, () => endedAt(point, 'enospc'));
});

async function endedAt(point: string, action: string): Promise<void> {
  const base = await mkdtemp(join(tmpdir(), 'isle-crash-machines-'));
  const dataRoot = join(base, 'data');
  const file = join(base, 'disk.raw');
  try {
    await mkdir(dataRoot);
    await writeFile(file, '');
    await truncate(file, 1024 * 1024);
    const told = await victim(dataRoot, file, point === 'none' ? '' : `${point}=${action}`);
    if (point === 'none') assert.ok(told.has('created three'), [...told].join('; '));
    else if (action === 'kill') assert.ok(!told.has('created three'), 'nobody came by');
    const first = await openMachines(dataRoot);
    checkAcknowledged(first, told);
    await first.engine.close();
    const state = await stateOf(dataRoot);
    const second = await openMachines(dataRoot);
    await second.engine.close();
    assert.deepEqual(await stateOf(dataRoot), state, 'a second recovery has nothing to do');
    const third = await openMachines(dataRoot);
    await removeAll(third);
    await third.engine.close();
    assert.deepEqual(await stateOf(dataRoot), { containers: [], machines: [], disks: [] });
  } finally {
    await rm(base, { recursive: true, force: true });
  }
}

function checkAcknowledged({ engine, options }: FakeEngine, told: Set<string>): void {
  const names = engine.machines.list().map(({ name }) => name);
  const gone = (name: string) => told.has(`removing ${name}`);
  for (const name of ['one', 'two', 'three'])
    if (told.has(`created ${name}`) && !gone(name)) assert.ok(names.includes(name), `${name} is gone`);
  for (const name of ['one', 'two'])
    if (told.has(`removed ${name}`)) assert.ok(!names.includes(name), `${name} is back`);
  const disks = options.disks.list();
  for (const { id, name, spec } of engine.machines.list())
    for (const { diskId } of spec.machine.disks)
      assert.equal(disks.find((disk) => disk.id === diskId)?.owner, id, `a disk of ${name}`);
  const used = engine.machines.list().flatMap(({ spec }) => spec.machine.disks.map(({ diskId }) => diskId));
  for (const { id, owner } of disks) if (!used.includes(id)) assert.equal(owner, undefined, `owner of ${id}`);
  if (told.has('created two'))
    assert.ok(
      disks.some(({ id }) => id === 'two-vda'),
      'a disk that was kept',
    );
  if (told.has('removed one')) assert.ok(!disks.some(({ id }) => id.startsWith('one-')), 'disks of one');
  for (const { id } of disks)
    assert.ok(used.includes(id) || id === 'two-vda' || gone('one'), `the disk ${id} belongs to nobody`);
}

async function removeAll({ engine, options }: FakeEngine): Promise<void> {
  for (const name of ['three', 'two', 'one'])
    if (engine.machines.list().some((machine) => machine.name === name))
      await engine.machines.remove(name, { force: true, disks: true });
  while ((await stateOf(options.dataRoot)).machines?.length) await new Promise(setImmediate);
  for (const { id } of options.disks.list().toReversed()) await options.disks.remove(id).catch(() => {});
  for (const { id } of options.disks.list()) await options.disks.remove(id);
}

async function stateOf(dataRoot: string): Promise<Record<string, string[]>> {
  const list = async (path: string): Promise<string[]> => {
    const names: string[] = await readdir(join(dataRoot, path)).catch(() => []);
    return names.sort();
  };
  return {
    containers: await list('containers'),
    machines: await list('machines'),
    disks: await list('disks'),
  };
}

/** What the victim told before it ended. */
async function victim(dataRoot: string, file: string, failpoints: string): Promise<Set<string>> {
  const script = join(root, 'test/fixtures/machines-victim.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, dataRoot, file], {
    env: { ...process.env, ISLE_FAILPOINT: failpoints },
    stdio: ['ignore', 'pipe', failpoints === '' ? 'inherit' : 'ignore'],
  });
  let told = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((resolve) => child.once('close', resolve));
  return new Set(told.split('\n'));
}
