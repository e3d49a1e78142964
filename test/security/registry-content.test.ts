import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ServerResponse } from 'node:http';
import { openImages } from '../fixtures/engine-images.ts';
import { startHostile, type Script } from '../fixtures/hostile-registry.ts';
import { buildImage, buildIndex, digestOf, type BuiltImage } from '../fixtures/image-builder.ts';

const image = buildImage({ layers: [{ a: 'one' }, { b: 'two' }] });
const layer = [...image.blobs.keys()][0] as string;

/** Pulls `app` from a registry with this script: must fail with `expected`, and leave no image, layer or blob to use. */
async function refuses(expected: object, script: Script, served: BuiltImage = image): Promise<void> {
  await using registry = await startHostile({ images: { 'app:latest': served }, script });
  await using engine = await openImages();
  await assert.rejects(engine.pull(`${registry.host}/app`), expected);
  assert.deepEqual(engine.images.list(), []);
  for (const { digest } of engine.content.all()) assert.ok(await engine.content.verify(digest));
  await engine.images.recover();
  assert.deepEqual(engine.content.all(), []);
  assert.deepEqual(engine.snapshots.layers(), []);
  assert.deepEqual(await readdir(join(engine.dataRoot, 'layers')), []);
}

function on(pattern: RegExp, answer: (response: ServerResponse) => void): Script {
  return (_request, response, path) => {
    if (!pattern.test(path)) return false;
    answer(response);
    return true;
  };
}

function manifestOf(
  change: (manifest: Record<string, unknown>) => unknown,
  mediaType = image.mediaType,
): Script {
  const bytes = Buffer.from(
    JSON.stringify(change(JSON.parse(image.manifest.toString()) as Record<string, unknown>)),
  );
  return on(/manifests/, (response) => response.writeHead(200, { 'content-type': mediaType }).end(bytes));
}

test('a manifest that is not what its announced digest says is refused', () =>
  refuses(
    { code: 'digestMismatch' },
    on(/manifests/, (response) => {
      response
        .writeHead(200, { 'content-type': image.mediaType, 'docker-content-digest': layer })
        .end(image.manifest);
    }),
  ));

test('a manifest asked for by digest must have it', async () => {
  const other = buildImage({ layers: [{ other: '1' }] });
  await using registry = await startHostile({
    images: {},
    script: on(/manifests/, (response) =>
      response.writeHead(200, { 'content-type': other.mediaType }).end(other.manifest),
    ),
  });
  await using engine = await openImages();
  await assert.rejects(engine.pull(`${registry.host}/app@${image.digest}`), { code: 'digestMismatch' });
});

test('an index whose entry leads to another manifest is refused', async () => {
  const index = buildIndex([image]);
  const other = buildImage({ layers: [{ other: '1' }] });
  await using registry = await startHostile({
    images: { 'app:latest': index },
    script: on(/manifests\/sha256/, (response) =>
      response.writeHead(200, { 'content-type': other.mediaType }).end(other.manifest),
    ),
  });
  await using engine = await openImages();
  await assert.rejects(engine.pull(`${registry.host}/app`), { code: 'digestMismatch' });
});

test('a manifest that could be read in two ways is refused (CVE-2021-41190)', async () => {
  const index = 'application/vnd.oci.image.index.v1+json';
  const manifests = [{ mediaType: image.mediaType, digest: image.digest, size: image.manifest.length }];
  await refuses(
    { code: 'invalidManifest' },
    manifestOf((manifest) => ({ ...manifest, manifests })),
  );
  await refuses(
    { code: 'invalidManifest' },
    manifestOf((manifest) => ({ ...manifest, manifests, mediaType: undefined })),
  );
  await refuses(
    { code: 'invalidManifest' },
    manifestOf((manifest) => ({ ...manifest, manifests, mediaType: index }), index),
  );
  await refuses(
    { code: 'invalidManifest', message: /was delivered as/ },
    manifestOf((manifest) => manifest, index),
  );
  await refuses(
    { code: 'invalidManifest' },
    manifestOf((manifest) => ({ ...manifest, mediaType: index })),
  );
});

test('schema 1, foreign layers, artifacts and unknown layer types are refused with the reason', async () => {
  const first = (change: object) =>
    manifestOf((manifest) => ({ ...manifest, layers: [{ ...(manifest.layers as object[])[0], ...change }] }));
  await refuses(
    { message: /schema 1 format/ },
    manifestOf(
      () => ({ schemaVersion: 1, fsLayers: [] }),
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    ),
  );
  await refuses(
    { message: /foreign layer/ },
    first({
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      urls: ['http://127.0.0.1/x'],
    }),
  );
  await refuses({ message: /unknown media type "text\/html"/ }, first({ mediaType: 'text/html' }));
  await refuses(
    { message: /not a container image.*helm/ },
    manifestOf((manifest) => ({
      ...manifest,
      config: { ...(manifest.config as object), mediaType: 'application/vnd.cncf.helm.config.v1+json' },
    })),
  );
});

test('descriptors with hostile digests or sizes never reach a path or a buffer', async () => {
  const first = (change: object) =>
    manifestOf((manifest) => ({ ...manifest, layers: [{ ...(manifest.layers as object[])[0], ...change }] }));
  for (const digest of [
    'sha256:../../../../etc/passwd',
    `sha256:${'A'.repeat(64)}`,
    `sha512:${'a'.repeat(128)}`,
    '',
    7,
    null,
  ])
    await refuses({ code: 'invalidManifest' }, first({ digest }));
  for (const size of [-1, 1.5, 2 ** 60, '12', null])
    await refuses({ code: 'invalidManifest' }, first({ size }));
});

test('a manifest or configuration beyond its limit is refused before it is kept', async () => {
  const huge = Buffer.alloc(5 * 1024 * 1024, ' ');
  await refuses(
    { message: /larger than 4194304 bytes/ },
    on(/manifests/, (response) => {
      response.writeHead(200, { 'content-type': image.mediaType, 'content-length': huge.length }).end(huge);
    }),
  );
  await refuses(
    { message: /larger than 4194304 bytes/ },
    on(/manifests/, (response) => {
      response.writeHead(200, { 'content-type': image.mediaType });
      response.write(huge);
      response.end();
    }),
  );
  await refuses(
    { message: /configuration is larger than/ },
    manifestOf((manifest) => ({ ...manifest, config: { ...(manifest.config as object), size: 2 ** 30 } })),
  );
  await refuses(
    { message: /more than 127 layers/ },
    manifestOf((manifest) => ({
      ...manifest,
      layers: Array.from({ length: 200 }, () => (manifest.layers as object[])[0]),
    })),
  );
});

test('a configuration that is not one is refused', async () => {
  const withConfig = (text: string) => {
    const config = Buffer.from(text);
    const digest = digestOf(config);
    const manifest = Buffer.from(
      JSON.stringify({
        ...(JSON.parse(image.manifest.toString()) as object),
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: config.length },
      }),
    );
    return {
      ...image,
      manifest,
      digest: digestOf(manifest),
      blobs: new Map([...image.blobs, [digest, config]]),
    };
  };
  const honest: Script = () => false;
  const good = JSON.parse(image.config.toString()) as Record<string, unknown>;
  const changed = (change: object) => withConfig(JSON.stringify({ ...good, ...change }));
  await refuses({ code: 'invalidImageConfig' }, honest, withConfig('[]'));
  await refuses({ code: 'invalidImageConfig' }, honest, withConfig('{"rootfs"'));
  await refuses({ code: 'invalidImageConfig' }, honest, changed({ config: { Env: 'PATH' } }));
  await refuses({ message: /holds a NUL/ }, honest, changed({ config: { Cmd: ['a\0b'] } }));
  await refuses(
    { message: /config.User is not one line/ },
    honest,
    changed({ config: { User: 'a\nroot:x:0' } }),
  );
  await refuses(
    { message: /layers, but its configuration names/ },
    honest,
    changed({ rootfs: { type: 'layers', diff_ids: [] } }),
  );
  const labels = Object.fromEntries(Array.from({ length: 200_000 }, (_, i) => [`label${i}`, '']));
  await refuses(
    { message: /Labels is not a map of at most 10000/ },
    honest,
    changed({ config: { Labels: labels } }),
  );
  await refuses({ code: 'invalidImageConfig' }, honest, withConfig(`{"rootfs":${'['.repeat(4_000_000)}`));
  await refuses(
    { code: 'invalidImageConfig' },
    honest,
    withConfig(`${'['.repeat(2_000_000)}${']'.repeat(2_000_000)}`),
  );
  const lied = changed({ rootfs: { type: 'layers', diff_ids: [...image.diffIds].reverse() } });
  await refuses({ code: 'digestMismatch', message: /^layer sha256:/ }, honest, lied);
  await refuses({ code: 'platformMismatch' }, honest, changed({ os: 'windows' }));
});

test('a layer with other bytes, more bytes or fewer bytes than promised is refused', async () => {
  const right = image.blobs.get(layer) as Buffer;
  const wrong = Buffer.from(right);
  wrong[wrong.length - 10] = (wrong[wrong.length - 10] ?? 0) ^ 1;
  const blob = new RegExp(`blobs/${layer}`);
  await refuses(
    { code: 'blobMismatch' },
    on(blob, (response) => response.writeHead(200).end(wrong)),
  );
  await refuses(
    { code: 'blobMismatch' },
    on(blob, (response) => {
      response.writeHead(200);
      response.write(right);
      response.end('more');
    }),
  );
  await refuses(
    { message: /bytes instead of/ },
    on(blob, (response) => {
      response.writeHead(200, { 'content-length': right.length + 5 });
      response.end(Buffer.concat([right, Buffer.from('12345')]));
    }),
  );
  await refuses(
    { code: 'registryUnreachable', message: /cut short/ },
    on(blob, (response) => {
      response.writeHead(200);
      response.end(right.subarray(0, right.length - 1));
    }),
  );
  await refuses(
    { message: /content encoding/ },
    on(blob, (response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(right);
    }),
  );
});
