import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { FakeEngine } from '../fixtures/fake-engine.ts';
import { openMachines } from '../fixtures/fake-machines.ts';

const root = join(import.meta.dirname, '../..');

const points = [
  ...new Set(
    globSync(['src/engine/machines/{snapshots,clone}/*.ts', 'src/engine/machines/save.ts'], { cwd: root })
      .filter((file) => !file.endsWith('.test.ts'))
      .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)])
      .flatMap((match) => match[1] ?? []),
  ),
];

describe('an engine killed while machines are kept, reverted, cloned and saved', { concurrency: 2 }, () => {
  assert.ok(points.length > 15, `only ${points.length} failpoints were found`);
  for (const point of ['none', ...points]) test(`at ${point}`, () => endedAt(point, 'kill'));
});

describe('an engine whose disk is full meanwhile', { concurrency: 2 }, () => {
  for (const point of points) test(`at ${point}`, () => endedAt(point, 'enospc'));
});

async function endedAt(point: string, action: string): Promise<void> {
  const base = await mkdtemp(join(tmpdir(), 'isle-crash-snapshots-'));
  const dataRoot = join(base, 'data');
  try {
    await mkdir(dataRoot);
    const told = await victim(dataRoot, point === 'none' ? '' : `${point}=${action}`);
    if (point === 'none') assert.ok(told.has('saved'), [...told].join('; '));
    else if (action === 'kill') assert.ok(!told.has('end'), 'nobody came by');
    const first = await openMachines(dataRoot);
    await first.engine.close();
    const second = await openMachines(dataRoot);
    check(second, told, dataRoot);
    const state = stateOf(second);
    await second.engine.close();
    const third = await openMachines(dataRoot);
    assert.deepEqual(stateOf(third), state, 'a second recovery has nothing to do');
    for (const name of ['live', 'linked', 'full', 'one'])
      if (third.engine.machines.list().some((machine) => machine.name === name)) {
        await third.engine.machines.remove(name, { force: true, disks: true });
        while (third.options.disks.list().some(({ id }) => id.startsWith(`${name}-`)))
          await new Promise(setImmediate);
      }
    await third.engine.close();
    assert.deepEqual(third.options.disks.list(), []);
  } finally {
    await rm(base, { recursive: true, force: true });
  }
}

function check({ engine, options }: FakeEngine, told: Set<string>, dataRoot: string): void {
  const { machines } = engine;
  const disks = new Map(options.disks.list().map((disk) => [disk.id, disk]));
  if (!told.has('created')) return;
  const { id, spec } = machines.get('one');
  const names = spec.machine.snapshots.map(({ name }) => name);
  for (const { diskId = '' } of spec.machine.disks)
    assert.deepEqual(disks.get(diskId)?.snapshots.toSorted(), names.toSorted(), `snapshots on ${diskId}`);
  for (const name of ['a', 'b'])
    if (told.has(`took ${name}`) && !told.has(`removing ${name}`)) assert.ok(names.includes(name), name);
  if (told.has('removed b')) assert.ok(!names.includes('b'));
  if (told.has('took b')) {
    const held = ['one-vda', 'one-vdb'].map((disk) => patternOf(options.disks.files(disk)));
    assert.equal(held[0], held[1], 'both disks went back, or none did');
    if (told.has('reverted')) assert.equal(held[0], 1);
    if (!told.has('reverting')) assert.equal(held[0], 2);
  }
  for (const name of ['full', 'linked'])
    if (told.has(`cloned ${name}`)) assert.equal(disks.get(`${name}-vdb`)?.owner, machines.get(name).id);
  const used = machines.list().flatMap((machine) => machine.spec.machine.disks.map(({ diskId }) => diskId));
  for (const disk of disks.keys()) assert.ok(used.includes(disk), `the disk ${disk} belongs to nobody`);
  const file = existsSync(join(dataRoot, 'machines', id, 'saved'));
  assert.equal(spec.machine.saved === true, file, 'saved, and its file');
  if (told.has('saved')) assert.ok(file);
}

function patternOf({ path, chain }: { path: string; chain: string[] }): number {
  const node = ([first, ...rest]: string[]): object | null =>
    first === undefined
      ? null
      : { driver: 'qcow2', file: { driver: 'file', filename: first }, backing: node(rest) };
  const image = `json:${JSON.stringify(node([path, ...chain]))}`;
  for (const pattern of [1, 2]) {
    const said = execFileSync('qemu-io', ['-r', '-c', `read -P ${pattern} 0 4096`, image], {
      encoding: 'utf8',
    });
    if (!said.includes('verification failed')) return pattern;
  }
  return 0;
}

function stateOf({ engine, options }: FakeEngine): object {
  return {
    machines: engine.machines
      .list()
      .map(({ name, spec }) => [name, spec.machine.snapshots.map((one) => one.name), spec.machine.saved]),
    disks: options.disks.list().map(({ id, snapshots }) => [id, snapshots]),
  };
}

/** What the victim told before it ended. */
async function victim(dataRoot: string, failpoints: string): Promise<Set<string>> {
  const script = join(root, 'test/fixtures/machine-snapshots-victim.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, dataRoot], {
    env: { ...process.env, ISLE_FAILPOINT: failpoints },
    stdio: ['ignore', 'pipe', failpoints === '' ? 'inherit' : 'ignore'],
  });
  let told = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((resolve) => child.once('close', resolve));
  return new Set(told.split('\n'));
}
