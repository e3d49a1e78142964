import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { mountTable } from '../../src/host/mount.ts';
import { openStore } from '../../src/state/store.ts';
import { openStorage } from '../fixtures/storage.ts';

const root = join(import.meta.dirname, '../..');

/** Every failpoint of snapshots, volumes, copies and image archives, read from the sources. */
const points = ['src/storage/*.ts', 'src/images/archive/*.ts']
  .flatMap((pattern) => globSync(pattern, { cwd: root }))
  .filter((file) => !file.endsWith('.test.ts'))
  .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)])
  .map((match) => match[1]!);

describe('storage killed in the middle of its work', { concurrency: 3 }, () => {
  assert.ok(points.length > 30, `only ${points.length} failpoints were found`);
  for (const point of ['none', ...points]) test(`at ${point}`, () => endedAt(point, 'kill'));
});

describe('storage whose disk fails in the middle of its work', { concurrency: 3 }, () => {
  for (const point of points) test(`at ${point}`, () => endedAt(point, 'enospc'));
});

async function endedAt(point: string, action: string): Promise<void> {
  const base = await mkdtemp(join(tmpdir(), 'isle-crash-storage-'));
  try {
    const told = await victim(base, point === 'none' ? '' : `${point}=${action}`);
    if (point === 'none') assert.ok(told.has('removed mine'));
    const store = openStore(join(base, 'isle.db'));
    const storage = await openStorage(base, store);
    const known = new Set(told.has('prepared box') && !told.has('removing box') ? ['box'] : []);
    await recover(storage, known);
    await checkAcknowledged(storage, told, known);
    const state = await stateOf(base);
    await recover(storage, known);
    assert.deepEqual(await stateOf(base), state, 'a second recovery has nothing to do');
    await removeAll(storage);
    assert.deepEqual(await stateOf(base), {
      blobs: [],
      ingest: [],
      layers: [],
      mounts: [],
      rootfs: [],
      snapshots: ['.empty'],
      trash: [],
      views: [],
      volumes: [],
    });
    await storage.close();
    store.close();
  } finally {
    await rm(base, { recursive: true, force: true });
  }
}

type Storage = Awaited<ReturnType<typeof openStorage>>;

async function recover({ images, snapshots, volumes }: Storage, known: ReadonlySet<string>): Promise<void> {
  await snapshots.recover(known);
  await volumes.recover();
  await images.recover();
  await snapshots.settled();
}

async function checkAcknowledged(storage: Storage, told: Set<string>, known: Set<string>): Promise<void> {
  const { images, snapshots, volumes, content } = storage;
  const there = (name: string): boolean => images.list().some(({ tags }) => tags.includes(name));
  if (told.has('loaded')) assert.ok(there('isle/hello:latest'));
  if (told.has('committed') && !told.has('removing mine')) assert.ok(there('mine:1'));
  if (told.has('removed mine')) assert.ok(!there('mine:1'));
  if (told.has('imported')) assert.ok(there('imported:1'));
  for (const image of images.list()) {
    assert.ok(await content.verify(image.id));
    for (const chainId of image.chainIds) assert.ok(snapshots.hasLayer(chainId));
  }
  if (told.has('filled kept'))
    assert.match(await readFile(join(volumes.path('kept'), 'passwd'), 'utf8'), /root:x:0/);
  if (told.has('copied')) assert.ok(existsSync(join(volumes.path('kept'), 'copied')));
  if (told.has('removed memory')) assert.ok(!(await volumes.list()).includes('memory'));
  if (known.has('box') && told.has('filled kept')) {
    assert.equal(await readFile(join(await snapshots.mount('box'), 'new'), 'utf8'), 'written');
  }
}

async function removeAll({ images, snapshots, volumes }: Storage): Promise<void> {
  await snapshots.remove('box');
  for (const name of await volumes.list()) await volumes.remove(name);
  // Newest first: an image that another was committed from cannot go before that.
  for (const { id } of images.list().reverse())
    await images.remove(id, { force: true, prune: true, inUse: () => undefined });
  await recover({ images, snapshots, volumes } as Storage, new Set());
  // Volumes have a trash of their own, emptied in the background.
  for (let i = 0; i < 200 && (await readdir(join(volumes.path('x'), '../../.trash'))).length > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function stateOf(base: string): Promise<Record<string, string[]>> {
  const list = async (path: string): Promise<string[]> => (await readdir(join(base, path))).sort();
  return {
    blobs: await list('blobs/sha256'),
    ingest: await list('ingest'),
    layers: await list('layers'),
    mounts: (await mountTable())
      .map(({ target }) => target)
      .filter((target) => target.startsWith(`${base}/`)),
    rootfs: await list('run/rootfs'),
    snapshots: await list('snapshots'),
    trash: await list('trash'),
    views: await list('run/views'),
    volumes: (await list('volumes')).filter((name) => name !== '.trash'),
  };
}

/** What the victim told before it ended. */
async function victim(base: string, failpoints: string): Promise<Set<string>> {
  const script = join(root, 'test/fixtures/storage-victim.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, base], {
    env: { ...process.env, ISLE_FAILPOINT: failpoints },
    stdio: ['ignore', 'pipe', failpoints === '' ? 'inherit' : 'ignore'],
  });
  let told = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((resolve) => child.once('close', resolve));
  return new Set(told.split('\n'));
}
