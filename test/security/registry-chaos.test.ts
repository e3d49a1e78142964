import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { isIsleError } from '../../src/lib/errors.ts';
import { openImages, quick } from '../fixtures/engine-images.ts';
import { findBlob, startHostile, type Script } from '../fixtures/hostile-registry.ts';
import { buildImage, buildIndex } from '../fixtures/image-builder.ts';

const image = buildImage({
  layers: [{ noise: randomBytes(100_000) }, { a: '1' }, { b: '2' }],
  compression: 'none',
});
const index = buildIndex([image]);
const images = { 'app:latest': index, 'app:one': image };

type Trick = (request: IncomingMessage, response: ServerResponse, path: string) => boolean | Promise<boolean>;

const refuse =
  (status: number, headers: Record<string, string> = {}): Trick =>
  (_request, response) => {
    response.writeHead(status, headers).end('{"errors":[{"code":"X","message":"chaos"}]}');
    return true;
  };

/** What a registry, a proxy or an attacker in the way may do to one request. */
const tricks: Record<string, Trick> = {
  honest: () => false,
  late: async () => {
    await sleep(30);
    return false;
  },
  hangsUp: (request) => {
    request.socket.destroy();
    return true;
  },
  halfHeaders: (request) => {
    request.socket.end('HTTP/1.1 200 OK\r\ncontent-le');
    return true;
  },
  noHttp: (request) => {
    request.socket.end('SSH-2.0-OpenSSH_9.2\r\n');
    return true;
  },
  garbage: (_request, response) => {
    response.end(randomBytes(500));
    return true;
  },
  empty: (_request, response) => {
    response.writeHead(200, { 'content-length': 0 }).end();
    return true;
  },
  cutShort: (_request, response, path) => {
    const blob = findBlob(images, path.split('/').at(-1) ?? '');
    if (!blob) return false;
    response.writeHead(200, { 'content-length': blob.length });
    response.write(blob.subarray(0, blob.length / 2), () => response.destroy());
    return true;
  },
  ignoresRange: (_request, response, path) => {
    const blob = findBlob(images, path.split('/').at(-1) ?? '');
    if (!blob) return false;
    response.writeHead(200).end(blob);
    return true;
  },
  lies: (_request, response, path) => {
    const blob = findBlob(images, path.split('/').at(-1) ?? '');
    if (!blob) return false;
    response.writeHead(200, { 'content-length': blob.length }).end(randomBytes(blob.length));
    return true;
  },
  stalls: (_request, response) => {
    response.writeHead(200, { 'content-length': 5000 });
    response.write('{');
    return true;
  },
  notFound: refuse(404),
  forbidden: refuse(403),
  oddRange: refuse(206, { 'content-range': 'bytes 9-1/0' }),
  unsatisfiable: refuse(416),
  serverError: refuse(500),
  unavailable: refuse(503, { 'retry-after': '0' }),
  tooMany: refuse(429, { 'retry-after': 'never' }),
  loops: (request, response) => refuse(307, { location: request.url ?? '' })(request, response, ''),
  leadsNowhere: refuse(302, { location: 'http://127.0.0.1:1/x' }),
  noLocation: refuse(307),
  badLocation: refuse(302, { location: 'http://[::' }),
  basic: refuse(401, { 'www-authenticate': 'Basic' }),
  oddChallenge: refuse(401, { 'www-authenticate': 'Bearer realm="http://127.0.0.1:1/t",,=,"' }),
  noChallenge: refuse(401),
  teapot: refuse(418),
  early: refuse(204),
};

test('whatever is done to its requests, a pull ends in time, with the image or a clear error, and leaves nothing half-made', async () => {
  const plan = fc.record({
    // Mostly honest, so that the tricks are played at every stage and not only on the first request.
    start: fc.array(
      fc.oneof(
        { weight: 6, arbitrary: fc.constant('honest') },
        { weight: 4, arbitrary: fc.constantFrom(...Object.keys(tricks)) },
      ),
      { minLength: 1, maxLength: 16 },
    ),
    tag: fc.constantFrom('latest', 'one'),
  });
  await using registry = await startHostile({ images });
  await using engine = await openImages({
    timeouts: { ...quick, headers: 300, stall: 150, retryDelay: 1, maxRetryAfter: 100 },
  });
  const pull = async ({ start, tag }: { start: string[]; tag: string }) => {
    const left = [...start];
    const script: Script = (request, response, path) =>
      tricks[left.shift() ?? 'honest']?.(request, response, path);
    registry.play(script);
    const began = performance.now();
    try {
      const pulled = await engine.pull(`${registry.host}/app:${tag}`);
      assert.equal(pulled.id, image.id);
      for (const chainId of pulled.chainIds) assert.ok(engine.snapshots.hasLayer(chainId));
    } catch (error) {
      assert.ok(isIsleError(error), `an error of the catalogue, not ${String(error)}`);
      assert.doesNotMatch(error.message, /[\n\r]|undefined|\[object/);
      assert.ok(error.status >= 400);
    }
    assert.ok(performance.now() - began < 20_000, 'it ended in time');
    const here = engine.images.list().map(({ id }) => id);
    for (const id of here)
      await engine.images.remove(id, { force: true, prune: true, inUse: () => undefined });
    await engine.images.recover();
    assert.deepEqual([engine.content.all(), engine.snapshots.layers()], [[], []]);
  };
  await fc.assert(fc.asyncProperty(plan, pull), { numRuns: 120, interruptAfterTimeLimit: 60_000 });
});
