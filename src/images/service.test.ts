import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildImage, pushTo, type LayerFiles } from '../../test/fixtures/image-builder.ts';
import { memoryImages } from '../../test/fixtures/memory-images.ts';
import { startRegistry, type TestRegistry } from '../../test/fixtures/registry.ts';
import { silentLog } from '../lib/log.ts';
import { memoryStore } from '../lib/table.ts';
import type { Images, Progress } from './images.ts';
import { createImages } from './service.ts';

const noUser = { force: false, prune: true, inUse: () => undefined };

async function setUp() {
  const memory = await memoryImages();
  const config = {
    mirrors: {},
    insecureRegistries: [],
    certificateAuthorities: {},
    maxConcurrentDownloads: 3,
  };
  const images = createImages({
    ...memory,
    store: memoryStore(),
    config,
    log: silentLog(),
  });
  return {
    memory,
    images,
    async [Symbol.asyncDispose]() {
      await memory[Symbol.asyncDispose]();
    },
  };
}

async function pulled(
  images: Images,
  registry: TestRegistry,
  name: string,
  layers: LayerFiles[] = [{ a: name }],
  labels = {},
) {
  await pushTo(registry, name, buildImage({ layers, config: { Labels: labels } }));
  return images.pull(`${registry.host}/${name}`, { onProgress: () => undefined });
}

test('removing the last name removes the image, its layers and its blobs', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const image = await pulled(it.images, registry, 'app:1');
  const ref = `${registry.host}/app:1`;
  const removed = await it.images.remove(ref, noUser);
  assert.deepEqual(removed, [
    { untagged: ref },
    { untagged: image.repoDigests[0] },
    { deleted: image.id },
    { deleted: image.chainIds[0] },
  ]);
  assert.equal(it.memory.blobs.size, 0);
  assert.equal(it.memory.layers.size, 0);
  assert.throws(() => it.images.get(ref), { code: 'noSuchImage', message: `No such image: ${ref}` });
});

test('a layer two images share stays until both are gone', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  await pulled(it.images, registry, 'one', [{ shared: '1' }, { a: '1' }]);
  await pulled(it.images, registry, 'two', [{ shared: '1' }, { b: '1' }]);
  const usage = await it.images.usage();
  assert.equal(
    [...usage.perImage.values()].every(({ shared, unique }) => shared > 0 && unique > 0),
    true,
  );
  await it.images.remove(`${registry.host}/one`, noUser);
  assert.equal(it.memory.layers.size, 2);
  await it.images.remove(`${registry.host}/two`, noUser);
  assert.equal(it.memory.layers.size, 0);
});

test('an image is found by name, digest, id and id prefix, and what is not found is named', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const image = await pulled(it.images, registry, 'app');
  const hex = image.id.slice(7);
  for (const name of [
    `${registry.host}/app`,
    image.repoDigests[0]!,
    image.id,
    hex,
    hex.slice(0, 12),
    `sha256:${hex.slice(0, 6)}`,
  ])
    assert.equal(it.images.get(name).id, image.id, name);
  assert.throws(() => it.images.get('nothing'), {
    code: 'noSuchImage',
    message: 'No such image: nothing:latest',
  });
  assert.throws(() => it.images.get('Nothing'), { code: 'invalidReference' });
  assert.equal(it.images.chainId(image.id), image.chainIds.at(-1));
});

test('a used image is refused in Docker’s words', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const image = await pulled(it.images, registry, 'app');
  const ref = `${registry.host}/app`;
  const short = image.id.slice(7, 19);
  const user = (running: boolean) => ({
    ...noUser,
    inUse: () => ({ containerId: 'c0ffee'.repeat(10), running }),
  });
  await assert.rejects(it.images.remove(ref, user(false)), {
    message: `conflict: unable to remove repository reference "${ref}" (must force) - container c0ffeec0ffee is using its referenced image ${short}`,
  });
  await assert.rejects(it.images.remove(short, user(false)), {
    message: `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container c0ffeec0ffee`,
  });
  await assert.rejects(it.images.remove(short, { ...user(true), force: true }), {
    message: `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container c0ffeec0ffee`,
  });
  it.images.tag(ref, 'elsewhere:2');
  await assert.rejects(it.images.remove(short, noUser), {
    message: /image is referenced in multiple repositories/,
  });
  assert.deepEqual(await it.images.remove('elsewhere:2', user(true)), [{ untagged: 'elsewhere:2' }]);
  const forced = await it.images.remove(ref, { ...user(true), force: true });
  assert.deepEqual(forced, [{ untagged: `${ref}:latest` }, { untagged: image.repoDigests[0] }]);
  assert.deepEqual(it.images.get(short).tags, []);
});

test('a tag that moves leaves a dangling image, which prune takes; filters keep others', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const old = await pulled(it.images, registry, 'app', [{ a: 'old' }], { keep: 'yes' });
  const fresh = await pulled(it.images, registry, 'app', [{ a: 'new' }]);
  assert.deepEqual(it.images.get(old.id).tags, []);
  const prune = (filters: Record<string, string[]>, all = false) =>
    it.images.prune({ all, filters, keep: () => false });
  assert.deepEqual((await prune({ label: ['other'] })).removed, []);
  assert.deepEqual((await prune({ 'label!': ['keep=yes'] })).removed, []);
  assert.deepEqual((await prune({ until: ['2020-01-01T00:00:00Z'] })).removed, []);
  await assert.rejects(prune({ nonsense: ['x'] }), {
    code: 'invalidParameter',
    message: "invalid filter 'nonsense'",
  });
  const { removed, reclaimed } = await prune({ label: ['keep'] });
  assert.ok(removed.some((one) => 'deleted' in one && one.deleted === old.id));
  assert.ok(reclaimed > 0);
  assert.deepEqual((await prune({})).removed, []);
  assert.equal(it.images.list()[0]?.id, fresh.id);
  await prune({}, true);
  assert.deepEqual(it.images.list(), []);
});

test('a pushed image comes back with the same digest, and its layers are mounted where they can be', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const image = await pulled(it.images, registry, 'app', [{ a: '1' }, { a: 'x'.repeat(100) }]);
  const lines: Progress[] = [];
  it.images.tag(image.id, `${registry.host}/copy:v2`);
  await it.images.push(`${registry.host}/copy:v2`, { onProgress: (line) => lines.push(line) });
  const shown = lines.map(({ status }) => status);
  assert.equal(shown[0], `The push refers to repository [${registry.host}/copy]`);
  assert.equal(shown.filter((status) => status === 'Mounted from app').length, 2);
  assert.deepEqual(lines.at(-1)?.aux, {
    Tag: 'v2',
    Digest: image.manifest?.digest,
    Size: image.manifest?.size,
  });
  const again = await it.images.pull(`${registry.host}/copy:v2`, { onProgress: () => undefined });
  assert.equal(again.manifest?.digest, image.manifest?.digest);

  await using other = await startRegistry();
  it.images.tag(image.id, `${other.host}/app`);
  lines.length = 0;
  await it.images.push(`${other.host}/app`, { onProgress: (line) => lines.push(line) });
  assert.equal(lines.filter(({ status }) => status === 'Pushed').length, 2);
  const far = await it.images.pull(`${other.host}/app`, { onProgress: () => undefined });
  assert.equal(far.manifest?.digest, image.manifest?.digest);
  await assert.rejects(it.images.push('localhost:1/nothing', { onProgress: () => undefined }), {
    message: /does not exist locally with the tag/,
  });
});

test('history shows the newest step first with its layer’s size', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const image = await pulled(it.images, registry, 'app', [{ a: '1' }, { a: '2' }]);
  const history = it.images.history(image.id);
  assert.deepEqual(
    history.map(({ id, createdBy }) => [id, createdBy]),
    [
      [image.id, 'layer 1'],
      ['<missing>', 'layer 0'],
    ],
  );
  assert.ok(history.every(({ size }) => size > 0));
});

test('recovery forgets an image that lost a blob and unpacks a layer that is gone', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const one = await pulled(it.images, registry, 'one', [{ a: '1' }]);
  const two = await pulled(it.images, registry, 'two', [{ a: '2' }]);
  it.memory.layers.delete(one.chainIds[0]!);
  it.memory.blobs.delete(two.id);
  await it.images.recover();
  assert.deepEqual(
    it.images.list().map(({ id }) => id),
    [one.id],
  );
  assert.deepEqual([...it.memory.layers.keys()], one.chainIds);
  assert.equal(it.memory.blobs.size, 3);
});
