import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore } from '../lib/table.ts';
import { buildImage, buildIndex, pushTo, type LayerFiles } from '../../test/fixtures/image-builder.ts';
import { memoryImages } from '../../test/fixtures/memory-images.ts';
import { startRegistry } from '../../test/fixtures/registry.ts';
import { ImageIndex } from './image-index.ts';
import type { Progress } from './images.ts';
import { Pins } from './pins.ts';
import { Puller } from './pull.ts';
import { Connections } from './registry/connections.ts';

async function setUp() {
  const memory = await memoryImages();
  const connections = new Connections({
    mirrors: {},
    insecureRegistries: [],
    certificateAuthorities: {},
    maxConcurrentDownloads: 3,
  });
  const index = new ImageIndex(memoryStore());
  const puller = new Puller({ ...memory, connections, index, pins: new Pins() });
  const lines: Progress[] = [];
  const pull = (ref: string, more: object = {}) =>
    puller.pull(ref, { ...more, onProgress: (line) => lines.push(line) });
  return {
    memory,
    index,
    lines,
    pull,
    async [Symbol.asyncDispose]() {
      connections.close();
      await memory[Symbol.asyncDispose]();
    },
  };
}

test('a pulled image has its blobs, its layers, its name, and Docker’s progress lines', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const image = buildImage({ layers: [{ a: '1' }, { b: '2' }], config: { Cmd: ['/a'], Labels: { x: 'y' } } });
  await pushTo(registry, 'team/app:v1', image);
  const pulled = await it.pull(`${registry.host}/team/app:v1`);
  assert.equal(pulled.id, image.id);
  assert.deepEqual(pulled.tags, [`${registry.host}/team/app:v1`]);
  assert.deepEqual(pulled.repoDigests, [`${registry.host}/team/app@${image.digest}`]);
  assert.deepEqual(pulled.config.command, ['/a']);
  assert.deepEqual(pulled.diffIds, image.diffIds);
  assert.equal(it.memory.layers.size, 2);
  const shown = it.lines.map(({ status }) => status);
  assert.equal(shown[0], 'Pulling from team/app');
  assert.deepEqual(shown.filter((status) => status === 'Pull complete').length, 2);
  assert.deepEqual(shown.slice(-2), [
    `Digest: ${image.digest}`,
    `Status: Downloaded newer image for ${registry.host}/team/app:v1`,
  ]);

  it.lines.length = 0;
  await it.pull(`${registry.host}/team/app:v1`);
  assert.deepEqual(
    it.lines.map(({ status }) => status),
    [
      'Pulling from team/app',
      `Digest: ${image.digest}`,
      `Status: Image is up to date for ${registry.host}/team/app:v1`,
    ],
  );
});

test('a tag that moved is pulled again, with the layers that are here already', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  await pushTo(registry, 'app', buildImage({ layers: [{ a: '1' }] }));
  await it.pull(`${registry.host}/app`);
  const moved = buildImage({ layers: [{ a: '1' }, { b: '2' }] });
  await pushTo(registry, 'app', moved);
  it.lines.length = 0;
  assert.equal((await it.pull(`${registry.host}/app`)).id, moved.id);
  const shown = it.lines.map(({ status }) => status);
  assert.deepEqual(shown.slice(1, 3), ['Already exists', 'Pulling fs layer']);
  assert.equal(shown.at(-1), `Status: Downloaded newer image for ${registry.host}/app:latest`);
});

test('an image that has the same layer twice, or none, is pulled', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const repeated: LayerFiles[] = [{ a: '1' }, { a: '1' }, { b: '1' }, { a: '1' }];
  for (const layers of [repeated, []]) {
    const image = buildImage({ layers });
    await pushTo(registry, 'twice', image);
    const pulled = await it.pull(`${registry.host}/twice`);
    assert.deepEqual([pulled.id, pulled.diffIds], [image.id, image.diffIds]);
    assert.equal(new Set(pulled.chainIds).size, layers.length);
  }
});

test('every format and compression can be pulled', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  for (const format of ['oci', 'docker'] as const)
    for (const compression of ['gzip', 'zstd', 'none'] as const) {
      const image = buildImage({ layers: [{ [format + compression]: '1' }], format, compression });
      await pushTo(registry, `x:${format}-${compression}`, image);
      assert.equal((await it.pull(`${registry.host}/x:${format}-${compression}`)).id, image.id);
    }
});

test('an index gives the image for the platform, and says what there is when there is none', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const images = ['linux/amd64', 'linux/arm/v6', 'linux/arm64'].map((platform) =>
    buildImage({ layers: [{ platform }], platform }),
  );
  const index = buildIndex(images);
  await pushTo(registry, 'multi', index);
  const ref = `${registry.host}/multi`;
  assert.equal((await it.pull(ref)).repoDigests[0], `${ref}@${index.digest}`);
  assert.equal((await it.pull(ref, { platform: 'linux/arm/v7' })).id, images[1]?.id);
  assert.equal((await it.pull(`${ref}@${index.digest}`, { platform: 'arm64' })).id, images[2]?.id);
  await assert.rejects(it.pull(ref, { platform: 'linux/s390x' }), {
    code: 'noMatchingPlatform',
    message: /linux\/s390x.*linux\/amd64, linux\/arm\/v6, linux\/arm64/,
  });
  await pushTo(registry, 'single', images[0] as never);
  await assert.rejects(it.pull(`${registry.host}/single`, { platform: 'linux/arm64' }), {
    code: 'platformMismatch',
  });
});

test('what is not there is said in Docker’s words', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  await pushTo(registry, 'app', buildImage({ layers: [{ a: '1' }] }));
  await assert.rejects(it.pull(`${registry.host}/app:nope`), {
    code: 'manifestUnknown',
    message: new RegExp(`^manifest for ${registry.host}/app:nope not found: manifest unknown`),
  });
  await assert.rejects(it.pull('127.0.0.1:1/app'), {
    message: 'cannot reach registry 127.0.0.1:1: connection refused',
  });
  await assert.rejects(it.pull('Bad'), { code: 'invalidReference' });
});

test('the same image pulled twice at once is downloaded once, and either may leave', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  const image = buildImage({ layers: [{ a: 'x'.repeat(1000) }, { b: '2' }] });
  await pushTo(registry, 'app', image);
  const first = new AbortController();
  const ref = `${registry.host}/app`;
  const pulls = [it.pull(ref, { signal: first.signal }), it.pull(ref), it.pull(ref)];
  first.abort(new Error('left'));
  const [left, ...stayed] = await Promise.allSettled(pulls);
  assert.equal(left?.status, 'rejected');
  for (const one of stayed) assert.equal(one.status, 'fulfilled');
  assert.equal(it.memory.partial.size, 0);
});

test('all tags of a repository come with one pull', async () => {
  await using registry = await startRegistry();
  await using it = await setUp();
  for (const tag of ['a', 'b', 'c']) await pushTo(registry, `app:${tag}`, buildImage({ layers: [{ tag }] }));
  await it.pull(`${registry.host}/app`, { allTags: true });
  assert.deepEqual(it.index.all().length, 3);
});
