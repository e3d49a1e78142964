import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { silentLog } from '../../src/lib/log.ts';
import type { Disks } from '../../src/storage/disks.ts';
import { createDisks } from '../../src/storage/disks/service.ts';

const root = join(import.meta.dirname, '../..');

/** Every failpoint of the disk store, read from the sources. */
const points = globSync('src/storage/disks/**/*.ts', { cwd: root })
  .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)])
  .map((match) => match[1]!);

describe('the disk store killed in the middle of its work', { concurrency: 2 }, () => {
  assert.ok(points.length > 20, `only ${points.length} failpoints were found`);
  for (const point of ['none', ...points]) test(`at ${point}`, () => endedAt(point, 'kill'));
});

describe('the disk store whose disk fails in the middle of its work', { concurrency: 2 }, () => {
  for (const point of points) test(`at ${point}`, () => endedAt(point, 'enospc'));
});

async function endedAt(point: string, action: string): Promise<void> {
  const base = await mkdtemp(join(tmpdir(), 'isle-crash-disks-'));
  try {
    const told = await victim(base, point === 'none' ? '' : `${point}=${action}`);
    if (point === 'none') assert.ok(told.has('unsnapped a'));
    else assert.ok(!told.has('unsnapped a'), `${point} is never reached`);
    const known = new Set(
      ['a', 'b', 'c', 'd'].filter((id) => told.has(`made ${id}`) && !told.has(`removing ${id}`)),
    );
    const disks = createDisks({ dataRoot: base, log: silentLog() });
    await disks.recover(known);
    for (const id of known) assert.equal(disks.get(id).id, id);
    checkContents(disks, told, known);
    assert.ok(!existsSync(join(base, 'b.vdi')) || readFileSync(join(base, 'b.vdi')).length > 2 ** 20);
    const state = stateOf(base);
    const again = createDisks({ dataRoot: base, log: silentLog() });
    await again.recover(known);
    assert.deepEqual(stateOf(base), state, 'a second recovery has nothing to do');
    await removeAll(again);
    assert.deepEqual(readdirSync(join(base, 'disks')), []);
  } finally {
    await rm(base, { recursive: true, force: true });
  }
}

function checkContents(disks: Disks, told: Set<string>, known: Set<string>): void {
  for (const { id } of disks.list()) {
    const { path, chain } = disks.files(id);
    for (const file of [path, ...chain]) execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
  }
  if (known.has('a')) {
    const undecided = told.has('reverting a') && !told.has('reverted a');
    const now = told.has('reverted a') ? 1 : [3, 2, 1].find((byte) => told.has(`wrote ${byte}`));
    if (now !== undefined)
      assert.ok(reads(disks, 'a', now) || (undecided && reads(disks, 'a', 1)), `a is not ${now}`);
    if (told.has('snapped a') && !told.has('unsnapping a'))
      assert.ok(disks.get('a').snapshots.includes('one'));
    if (told.has('snapped a again')) assert.ok(disks.get('a').snapshots.includes('two'));
    if (told.has('unsnapped a')) assert.deepEqual(disks.get('a').snapshots, ['two']);
    assert.equal(disks.get('a').owner, 'machine');
  }
  if (known.has('c')) assert.ok(reads(disks, 'c', 2));
  if (known.has('d')) assert.ok(reads(disks, 'd', 3));
  if (known.has('b')) {
    assert.ok(reads(disks, 'b', 9));
    const real = (
      JSON.parse(
        execFileSync('qemu-img', ['info', '-f', 'qcow2', '--output=json', disks.files('b').path]).toString(),
      ) as { 'virtual-size': number }
    )['virtual-size'];
    assert.equal(disks.get('b').size, real, 'the size that is told is the size that it has');
  }
}

function reads(disks: Disks, id: string, byte: number): boolean {
  const args = ['-r', '-f', 'qcow2', '-c', `read -P ${byte} 1M 64k`, disks.files(id).path];
  return spawnSync('qemu-io', args, { stdio: 'ignore' }).status === 0;
}

async function removeAll(disks: Disks): Promise<void> {
  for (const { id, owner } of disks.list()) if (owner !== undefined) disks.release(id, owner);
  for (const { id } of disks.list().sort((one) => (one.base === undefined ? 1 : -1))) await disks.remove(id);
}

function stateOf(base: string): string[] {
  return (readdirSync(join(base, 'disks'), { recursive: true }) as string[])
    .map((name) => join(base, 'disks', name))
    .map((path) => `${path} ${statSync(path).isFile() ? readFileSync(path).toString('base64') : ''}`)
    .sort();
}

/** What the victim told before it ended. */
async function victim(base: string, failpoints: string): Promise<Set<string>> {
  const script = join(root, 'test/fixtures/disk-victim.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, base], {
    env: { ...process.env, ISLE_FAILPOINT: failpoints },
    stdio: ['ignore', 'pipe', failpoints === '' ? 'inherit' : 'ignore'],
  });
  let told = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((resolve) => child.once('close', resolve));
  return new Set(told.split('\n'));
}
