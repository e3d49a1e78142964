import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { createServer, connect, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { mediaTypes } from '../../src/images/media-types.ts';
import { openImages, quick } from '../fixtures/engine-images.ts';
import { sendError, startHostile } from '../fixtures/hostile-registry.ts';
import { buildImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry } from '../fixtures/registry.ts';

const MiB = 1024 * 1024;
const small = { monolithic: 1 * MiB, chunk: 2 * MiB };
const silent = { onProgress: () => undefined };

/** An engine that has the image, pulled from a registry that is gone. */
async function engineWith(image: ReturnType<typeof buildImage>, config = {}) {
  await using source = await startRegistry();
  await pushTo(source, 'app', image);
  const engine = await openImages({ uploads: small, ...config });
  await engine.pull(`${source.host}/app`);
  return engine;
}

test('a large layer goes up in chunks and comes back the same', async () => {
  const image = buildImage({ layers: [{ noise: randomBytes(7 * MiB) }], compression: 'none' });
  await using engine = await engineWith(image);
  await using registry = await startRegistry();
  const ref = `${registry.host}/deep/er/app:v1`;
  engine.images.tag(image.id, ref);
  const seen: number[] = [];
  await engine.images.push(ref, {
    onProgress: ({ status, progressDetail }) =>
      status === 'Pushing' && seen.push(progressDetail?.current ?? 0),
  });
  assert.ok(seen.every((value, i) => i === 0 || value >= (seen[i - 1] ?? 0)));
  await using other = await openImages();
  assert.equal((await other.pull(ref)).manifest?.digest, image.digest);
});

test('an upload that breaks off goes on where the registry is', async () => {
  const image = buildImage({ layers: [{ noise: randomBytes(7 * MiB) }], compression: 'none' });
  await using engine = await engineWith(image, { timeouts: { ...quick, headers: 5000 } });
  await using registry = await startRegistry();
  let budget = 5 * MiB;
  let broken = 0;
  const proxy = createServer((socket) => {
    const through = connect(Number(registry.host.split(':')[1]), '127.0.0.1');
    through.on('error', () => socket.destroy());
    socket.on('error', () => through.destroy());
    socket.on('close', () => through.destroy());
    through.pipe(socket);
    socket.on('data', (data) => {
      budget -= data.length;
      if (budget < 0 && broken === 0) {
        broken++;
        through.end();
        socket.destroy();
      } else through.write(data);
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const ref = `127.0.0.1:${(proxy.address() as AddressInfo).port}/app`;
  engine.images.tag(image.id, ref);
  const shown: string[] = [];
  await engine.images.push(ref, { onProgress: ({ status }) => shown.push(status ?? '') });
  assert.equal(broken, 1);
  assert.ok(shown.some((status) => status.startsWith('Retrying in')));
  await using other = await openImages();
  assert.equal((await other.pull(`${registry.host}/app`)).manifest?.digest, image.digest);
  proxy.close();
});

test('plain layers of an image made here are compressed for the push', async () => {
  const image = buildImage({ layers: [{ text: 'word '.repeat(100_000) }], compression: 'none' });
  await using engine = await engineWith(image);
  await using registry = await startRegistry();
  const ref = `${registry.host}/app`;
  engine.images.tag(image.id, ref);
  // As an image that was committed or imported: no registry has it under a digest.
  for (const name of engine.images.get(image.id).repoDigests)
    await engine.images.remove(name, { force: true, prune: false, inUse: () => undefined });
  await engine.images.push(ref, silent);
  await using other = await openImages();
  const pulled = await other.pull(ref);
  assert.equal(pulled.id, image.id);
  assert.deepEqual(pulled.diffIds, image.diffIds);
  const manifest = JSON.parse((await other.content.read(pulled.manifest?.digest ?? '')).toString()) as {
    layers: { mediaType: string; size: number }[];
  };
  assert.equal(manifest.layers[0]?.mediaType, mediaTypes.ociLayerGzip);
  assert.ok((manifest.layers[0]?.size ?? 0) < 10_000);
  assert.deepEqual(engine.images.get(image.id).repoDigests, [`${ref}@${pulled.manifest?.digest}`]);
});

test('all tags go with one push, and an unknown name or a digest is refused', async () => {
  const image = buildImage({ layers: [{ a: '1' }] });
  await using engine = await engineWith(image);
  await using registry = await startRegistry();
  for (const tag of ['a', 'b']) engine.images.tag(image.id, `${registry.host}/app:${tag}`);
  await engine.images.push(`${registry.host}/app`, { ...silent, allTags: true });
  const answer = await fetch(`${registry.url}/v2/app/tags/list`);
  assert.deepEqual(((await answer.json()) as { tags: string[] }).tags.sort(), ['a', 'b']);
  await assert.rejects(engine.images.push(`${registry.host}/app:c`, silent), { code: 'noSuchImage' });
  await assert.rejects(engine.images.push(`${registry.host}/app@${image.digest}`, silent), {
    code: 'invalidParameter',
  });
});

test('a registry that refuses, lies about the manifest or has no Location is told plainly', async () => {
  const image = buildImage({ layers: [{ a: '1' }] });
  await using engine = await engineWith(image);
  const cases: [object, Parameters<typeof startHostile>[0]['script']][] = [
    [
      { code: 'pushDenied', message: /requested access to the resource is denied/ },
      (request, response) => {
        if (request.method === 'GET') return false;
        sendError(response, 403, 'DENIED', 'requested access to the resource is denied');
        return true;
      },
    ],
    [
      { message: /without a Location/ },
      (request, response) => {
        if (request.method === 'GET') return false;
        response.writeHead(request.method === 'HEAD' ? 404 : 202).end();
        return true;
      },
    ],
    [
      { code: 'digestMismatch' },
      (request, response) => {
        if (request.method === 'GET') return false;
        if (request.method === 'HEAD') response.writeHead(200).end();
        else response.writeHead(201, { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }).end();
        return true;
      },
    ],
  ];
  for (const [expected, script] of cases) {
    await using registry = await startHostile({ script });
    engine.images.tag(image.id, `${registry.host}/app`);
    await assert.rejects(engine.images.push(`${registry.host}/app`, silent), expected);
    await engine.images.remove(`${registry.host}/app`, { force: true, prune: false, inUse: () => undefined });
  }
});

test('a registry that forbids the mount gets the blobs instead', async () => {
  const image = buildImage({ layers: [{ a: '1' }] });
  await using engine = await engineWith(image);
  await using registry = await startRegistry();
  const mounts: string[] = [];
  const proxy = createHttpServer((incoming, outgoing) => {
    if (incoming.url?.includes('mount=')) {
      mounts.push(incoming.url);
      outgoing.writeHead(403).end();
      return;
    }
    const [host, port] = registry.host.split(':');
    const { method, url: path, headers } = incoming;
    const passed = httpRequest({ host, port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  for (const name of ['one', 'two']) {
    engine.images.tag(image.id, `${host}/${name}`);
    await engine.images.push(`${host}/${name}`, silent);
  }
  assert.ok(mounts.length > 0);
  await using other = await openImages();
  assert.equal((await other.pull(`${host}/two`)).id, image.id);
  proxy.close();
  proxy.closeAllConnections();
});

test('images come and go while garbage is collected, and nothing that is named is lost', async () => {
  await using registry = await startRegistry();
  await using engine = await openImages();
  const shared = { shared: 'x'.repeat(50_000) };
  const images = [1, 2, 3, 4].map((i) => buildImage({ layers: [shared, { own: String(i) }] }));
  for (const [i, image] of images.entries()) await pushTo(registry, `app${i}`, image);
  const removal = { force: true, prune: true, inUse: () => undefined };
  const churn = images.map(async (image, i) => {
    const ref = `${registry.host}/app${i}`;
    for (let round = 0; round < 4; round++) {
      await engine.pull(ref);
      const pulled = engine.images.get(ref);
      assert.equal(pulled.id, image.id);
      for (const chainId of pulled.chainIds)
        assert.ok(engine.snapshots.hasLayer(chainId), 'its layers are here');
      assert.ok(engine.content.has(pulled.manifest?.digest ?? ''), 'its blobs are here');
      if (round < 3) await engine.images.remove(ref, removal);
    }
  });
  await Promise.all(churn);
  assert.equal(engine.images.list().length, 4);
  for (const image of engine.images.list())
    for (const chainId of image.chainIds) assert.ok(engine.snapshots.hasLayer(chainId));
  for (const { digest } of engine.content.all()) assert.ok(await engine.content.verify(digest));
  for (const i of images.keys()) await engine.images.remove(`${registry.host}/app${i}`, removal);
  assert.deepEqual([engine.content.all(), engine.snapshots.layers()], [[], []]);
});
