import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIsleError } from '../lib/errors.ts';
import { buildImage, buildIndex } from '../../test/fixtures/image-builder.ts';
import { parseImageConfig } from './config-parse.ts';
import { layerKind } from './media-types.ts';
import { parseManifest } from './manifest.ts';

const image = buildImage({ layers: [{ a: '1' }], config: { Labels: { a: 'b' } } });
const index = buildIndex([image]);

/** Valid documents with one value somewhere replaced by anything. */
function mutated(document: unknown): fc.Arbitrary<Buffer> {
  const paths: (string | number)[][] = [];
  const walk = (value: unknown, path: (string | number)[]): void => {
    paths.push(path);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value))
      walk(inner, [...path, Array.isArray(value) ? Number(key) : key]);
  };
  walk(document, []);
  return fc.tuple(fc.constantFrom(...paths), fc.jsonValue({ maxDepth: 3 })).map(([path, value]) => {
    const copy = structuredClone(document) as Record<string, unknown>;
    const last = path.at(-1);
    if (last === undefined) return Buffer.from(JSON.stringify(value));
    let at: Record<string | number, unknown> = copy;
    for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>;
    at[last] = value;
    return Buffer.from(JSON.stringify(copy));
  });
}

test('a manifest and an index are read as what they are', () => {
  const parsed = parseManifest(image.manifest, `${image.mediaType}; charset=utf-8`, image.digest);
  assert.equal(parsed.kind === 'image' && parsed.config.digest, image.id);
  const listed = parseManifest(index.manifest, undefined, index.digest);
  assert.deepEqual(listed.kind === 'index' && listed.entries[0]?.platform, image.platform);
  assert.equal(parseManifest(image.manifest, 'application/json', image.digest).kind, 'image');
});

test('whatever a manifest holds, it is parsed or refused as an invalid manifest', () => {
  const documents = fc.oneof(
    mutated(JSON.parse(image.manifest.toString())),
    mutated(JSON.parse(index.manifest.toString())),
    fc.json().map((text) => Buffer.from(text)),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  );
  fc.assert(
    fc.property(
      documents,
      fc.constantFrom(undefined, image.mediaType, index.mediaType, 'text/plain'),
      (bytes, type) => {
        try {
          const parsed = parseManifest(bytes, type, 'sha256:x');
          const blobs = parsed.kind === 'image' ? [parsed.config, ...parsed.layers] : parsed.entries;
          for (const { digest, size } of blobs) {
            assert.match(digest, /^sha256:[0-9a-f]{64}$/);
            assert.ok(Number.isSafeInteger(size) && size >= 0);
          }
        } catch (error) {
          assert.ok(isIsleError(error, 'invalidManifest'), String(error));
        }
      },
    ),
    { numRuns: 1500 },
  );
});

test('whatever a configuration holds, it is parsed or refused as an invalid configuration', () => {
  const rich = {
    ...(JSON.parse(image.config.toString()) as object),
    author: 'me',
    config: {
      User: 'a',
      Env: ['A=b'],
      Cmd: ['x'],
      Entrypoint: null,
      Labels: { a: 'b' },
      ExposedPorts: { '80/tcp': {} },
      Volumes: { '/data': {} },
      Healthcheck: { Test: ['CMD', 'x'], Interval: 1e9, Retries: 3 },
      StopSignal: 'SIGTERM',
    },
  };
  const documents = fc.oneof(
    mutated(rich),
    fc.json().map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(documents, (bytes) => {
      try {
        const parsed = parseImageConfig(bytes, 'sha256:x');
        assert.ok(parsed.config.env.every((value) => typeof value === 'string' && !value.includes('\0')));
        assert.ok(Object.values(parsed.config.labels).every((value) => typeof value === 'string'));
      } catch (error) {
        assert.ok(isIsleError(error, 'invalidImageConfig'), String(error));
      }
    }),
    { numRuns: 1500 },
  );
});

test('a label or a key named __proto__ stays data', () => {
  const config = Buffer.from(
    '{"rootfs":{"diff_ids":[]},"config":{"Labels":{"__proto__":"x","constructor":"y"}}}',
  );
  const { labels } = parseImageConfig(config, 'sha256:x').config;
  assert.deepEqual(Object.keys(labels), ['__proto__', 'constructor']);
  assert.equal(({} as Record<string, unknown>).x, undefined);
});

test('layer media types say how a layer is packed', () => {
  assert.equal(layerKind('application/vnd.oci.image.layer.v1.tar+zstd'), 'zstd');
  assert.equal(layerKind('application/vnd.docker.image.rootfs.diff.tar.gzip'), 'gzip');
  assert.equal(layerKind('application/vnd.oci.image.layer.v1.tar'), 'tar');
  assert.equal(layerKind('application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'), 'foreign');
  assert.equal(layerKind('application/vnd.oci.image.layer.v1.tar+gzip; x'), undefined);
});
