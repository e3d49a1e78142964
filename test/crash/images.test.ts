import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryStore } from '../../src/lib/table.ts';
import { openStore } from '../../src/state/store.ts';
import { openImages } from '../fixtures/engine-images.ts';
import { buildImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry, type TestRegistry } from '../fixtures/registry.ts';

const root = join(import.meta.dirname, '../..');

/** Every failpoint on the way of a pull, a removal and a collection, read from the sources. */
const points = [
  'src/images/*.ts',
  'src/images/registry/*.ts',
  'src/images/store/*.ts',
  'src/storage/{layers,trash}.ts',
]
  .flatMap((pattern) => globSync(pattern, { cwd: root }))
  .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)])
  .map((match) => match[1] as string);

const shared = { 'etc/shared': 'x'.repeat(10_000) };
const images = {
  first: buildImage({ layers: [shared, { first: '1' }] }),
  second: buildImage({ layers: [shared, { second: '2' }], compression: 'zstd' }),
  plain: buildImage({ layers: [{ plain: 'word '.repeat(5000) }], compression: 'none' }),
};
let registry: TestRegistry;

before(async () => {
  registry = await startRegistry();
  await pushTo(registry, 'first', images.first);
  await pushTo(registry, 'second', images.second);
  await pushTo(registry, 'plain', images.plain);
});
after(() => registry.stop());

describe('an engine killed while it pulls and removes images', { concurrency: 4 }, () => {
  assert.ok(points.length > 25, 'the failpoints were found');
  for (const point of ['none', ...points]) test(`at ${point}`, () => killAt(point));
  const repeated = points.filter((point) => /^(content|layer)\./.test(point));
  for (const point of repeated) test(`the second time at ${point}`, () => killAt(point, '=kill@2'));
});

describe('an engine whose disk fails while it pulls and removes images', { concurrency: 4 }, () => {
  const effects = points.filter((point) => point.endsWith('.before'));
  for (const point of effects) test(`at ${point}`, () => killAt(point, '=enospc'));
});

test('a layer that a power cut may have damaged is unpacked again from its blob', async () => {
  const dataRoot = await mkdtemp(join(tmpdir(), 'isle-crash-images-'));
  const store = memoryStore();
  await using engine = await openImages({}, { dataRoot, store });
  const image = await engine.pull(`${registry.host}/first`);
  const [below = '', top = ''] = image.chainIds;
  const layers = store.table<{ unsynced?: string }>('layers');
  await waitUntil(() => layers.get(top)?.unsynced === undefined && layers.get(below)?.unsynced === undefined);
  const directory = join(dataRoot, 'layers', below.slice(7));
  layers.put(below, { ...layers.get(below), unsynced: 'an earlier boot' });
  await writeFile(join(directory, 'diff/etc/shared'), 'torn');
  await engine.snapshots.recover(new Set());
  assert.equal(engine.snapshots.hasLayer(below), false);
  assert.equal(engine.snapshots.hasLayer(top), false);
  await engine.images.recover();
  assert.deepEqual(engine.images.get(image.id).chainIds, image.chainIds);
  assert.equal(await readFile(join(directory, 'diff/etc/shared'), 'utf8'), shared['etc/shared']);
  await rm(dataRoot, { recursive: true });
});

async function waitUntil(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(20);
}

async function killAt(point: string, action = '=kill'): Promise<void> {
  const dataRoot = await mkdtemp(join(tmpdir(), 'isle-crash-images-'));
  try {
    const told = await victim(dataRoot, point === 'none' ? '' : `${point}${action}`);
    const names = { first: `${registry.host}/first`, second: `${registry.host}/second` };
    const copy = `${registry.host}/plain-copy:1`;
    const store = openStore(join(dataRoot, 'isle.db'));
    const engine = await openImages({}, { dataRoot, store });
    await engine.snapshots.recover(new Set());
    await engine.images.recover();

    const there = (name: string) => engine.images.list().some(({ tags }) => tags.includes(`${name}:latest`));
    if (told.includes('pulled first') && !told.includes('pulled second'))
      assert.ok(there(names.first), 'a finished pull stays');
    if (told.includes('pulled second')) assert.ok(there(names.second), 'a finished pull stays');
    if (told.includes('removed first')) assert.ok(!there(names.first), 'a removal stays');
    for (const image of engine.images.list()) {
      for (const chainId of image.chainIds) assert.ok(engine.snapshots.hasLayer(chainId));
      assert.ok(await engine.content.verify(image.id));
    }
    if (engine.images.list().some(({ tags }) => tags.includes(copy))) {
      await engine.images.push(copy, { onProgress: () => undefined });
      assert.equal((await engine.pull(copy)).id, images.plain.id);
    } else assert.ok(!told.includes('pushed plain'), 'a pushed image stays');
    const state = await stateOf(engine, dataRoot);
    assert.deepEqual(state.unknown, [], 'nothing on disk that no record knows');
    await engine.snapshots.recover(new Set());
    await engine.images.recover();
    assert.deepEqual(await stateOf(engine, dataRoot), state, 'a second recovery has nothing to do');

    for (const name of Object.values(names)) await engine.pull(name);
    assert.equal(engine.images.get(names.first).id, images.first.id);
    assert.equal(engine.images.get(names.second).id, images.second.id);
    const removal = { force: false, prune: true, inUse: () => undefined };
    for (const name of Object.values(names)) await engine.images.remove(name, removal);
    for (const { id } of engine.images.list()) await engine.images.remove(id, { ...removal, force: true });
    const left = await stateOf(engine, dataRoot);
    assert.deepEqual(left.blobs, []);
    assert.deepEqual(left.layers, []);
    store.close();
    await engine[Symbol.asyncDispose]();
  } finally {
    await rm(dataRoot, { recursive: true, force: true });
  }
}

/** What the victim told before it ended. */
async function victim(dataRoot: string, failpoints: string): Promise<string> {
  await mkdir(dataRoot, { recursive: true });
  const args = [
    join(root, 'test/fixtures/images-victim.ts'),
    dataRoot,
    `${registry.host}/first`,
    `${registry.host}/second`,
    `${registry.host}/plain`,
  ];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ISLE_FAILPOINT: failpoints },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let told = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((resolve) => child.once('close', resolve));
  if (failpoints === '') assert.match(told, /pushed plain/);
  return told;
}

async function stateOf(engine: Awaited<ReturnType<typeof openImages>>, dataRoot: string) {
  const blobs = engine.content
    .all()
    .map(({ digest }) => digest.slice(7))
    .sort();
  const layers = engine.snapshots
    .layers()
    .map(({ chainId }) => chainId.slice(7))
    .sort();
  const files = (await readdir(join(dataRoot, 'blobs/sha256'))).sort();
  const directories = (await readdir(join(dataRoot, 'layers'))).sort();
  const unknown = [
    ...files.filter((name) => !blobs.includes(name)),
    ...directories.filter((name) => !layers.includes(name)),
  ];
  return { blobs, layers, unknown, images: engine.images.list() };
}
