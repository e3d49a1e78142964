import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Progress } from '../../src/images/images.ts';
import { openImages, quick } from '../fixtures/engine-images.ts';
import { findBlob, sendError, startHostile } from '../fixtures/hostile-registry.ts';
import { buildImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry } from '../fixtures/registry.ts';

const image = buildImage({ layers: [{ noise: randomBytes(600_000) }], compression: 'none' });
const images = { 'app:latest': image };
const layer = [...image.blobs.keys()][0] as string;
const bytes = image.blobs.get(layer) as Buffer;

test('a download that breaks off goes on where it stopped', async () => {
  let breaks = 3;
  await using registry = await startHostile({
    images,
    script: (request, response, path) => {
      if (!path.includes(layer) || breaks-- <= 0) return false;
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const range =
        start > 0 ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {};
      response.writeHead(start > 0 ? 206 : 200, {
        'content-length': bytes.length - start,
        etag: '"x"',
        ...range,
      });
      response.write(bytes.subarray(start, start + 150_000), () => response.destroy());
      return true;
    },
  });
  await using engine = await openImages();
  assert.equal((await engine.pull(`${registry.host}/app`)).id, image.id);
  const asked = registry.requests
    .filter(({ path }) => path.includes(layer))
    .map(({ headers }) => headers.range);
  assert.equal(asked[0], undefined);
  assert.deepEqual(
    asked.slice(1).every((range) => /^bytes=[1-9]\d+-$/.test(range ?? '')),
    true,
  );
  assert.ok(engine.lines.some(({ status }) => status?.startsWith('Retrying in')));
});

test('a registry that ignores the Range is read from the start again', async () => {
  let breaks = 1;
  await using registry = await startHostile({
    images,
    script: (_request, response, path) => {
      if (!path.includes(layer)) return false;
      response.writeHead(200, { 'content-length': bytes.length });
      if (breaks-- > 0) response.write(bytes.subarray(0, 300_000), () => response.destroy());
      else response.end(bytes);
      return true;
    },
  });
  await using engine = await openImages();
  assert.equal((await engine.pull(`${registry.host}/app`)).id, image.id);
});

test('another range than asked for is refused', async () => {
  await using registry = await startHostile({
    images,
    script: (request, response, path) => {
      if (!path.includes(layer)) return false;
      if (!request.headers.range) {
        response.writeHead(200, { 'content-length': bytes.length });
        response.write(bytes.subarray(0, 300_000), () => response.destroy());
      } else response.writeHead(206, { 'content-range': `bytes 5-9/${bytes.length}` }).end('12345');
      return true;
    },
  });
  await using engine = await openImages();
  await assert.rejects(engine.pull(`${registry.host}/app`), { message: /a different range than asked/ });
});

/** Leaves a pull once something of the blob is here. */
function leaveHalfway() {
  const leaving = new AbortController();
  const onProgress = ({ status, progressDetail }: Progress) => {
    if (status === 'Downloading' && (progressDetail?.current ?? 0) > 0) leaving.abort(new Error('left'));
  };
  return { signal: leaving.signal, onProgress };
}

test('bytes an earlier try left that turn out wrong are fetched anew', async () => {
  let lie = true;
  await using registry = await startHostile({
    images,
    script: (_request, response, path) => {
      if (!path.includes(layer) || !lie) return false;
      lie = false;
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(randomBytes(300_000));
      return true;
    },
  });
  await using engine = await openImages();
  await assert.rejects(engine.pull(`${registry.host}/app`, leaveHalfway()), /left/);
  assert.equal((await engine.pull(`${registry.host}/app`)).id, image.id);
  assert.ok(registry.requests.some(({ headers }) => headers.range !== undefined));
});

test('an aborted pull is resumed by the next one', async () => {
  await using registry = await startHostile({
    images,
    script: (_request, response, path) => {
      if (!path.includes(layer)) return false;
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 400_000));
      return true;
    },
  });
  await using engine = await openImages();
  await assert.rejects(engine.pull(`${registry.host}/app`, leaveHalfway()), /left/);
  assert.deepEqual(engine.images.list(), []);
  registry.play(undefined);
  await engine.pull(`${registry.host}/app`);
  assert.match(registry.requests.at(-1)?.headers.range ?? '', /^bytes=[1-9]\d*-$/);
});

test('429 and 503 are waited out as long as Retry-After says, and no longer than is sensible', async () => {
  let refusals = 2;
  await using registry = await startHostile({
    images,
    script: (_request, response) => {
      if (refusals-- <= 0) return false;
      response.setHeader('retry-after', '1');
      sendError(response, refusals === 1 ? 429 : 503, 'TOOMANYREQUESTS', 'slow down');
      return true;
    },
  });
  await using engine = await openImages();
  const start = performance.now();
  await engine.pull(`${registry.host}/app`);
  assert.ok(performance.now() - start >= 2000);

  registry.play((_request, response) => {
    response.setHeader('retry-after', '86400');
    sendError(response, 429, 'TOOMANYREQUESTS', 'You have reached your pull rate limit.');
    return true;
  });
  await using other = await openImages();
  await assert.rejects(other.pull(`${registry.host}/app`), {
    code: 'registryRateLimited',
    message: /You have reached your pull rate limit/,
  });
});

test('a registry that only fails is given up after a few tries', async () => {
  await using registry = await startHostile({
    script: (_request, response) => {
      sendError(response, 500, 'UNKNOWN', 'unknown error');
      return true;
    },
  });
  await using engine = await openImages();
  await assert.rejects(engine.pull(`${registry.host}/app`), {
    code: 'registryAnswer',
    message: /500: unknown: unknown error/,
  });
  assert.ok(registry.requests.length <= 8);
});

test('a server that accepts and says nothing, drips headers, stalls or trickles is given up', async () => {
  const cases: ((socket: Socket) => void)[] = [
    () => undefined,
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('x: y\r\n'), 50);
      socket.on('close', () => clearInterval(timer));
    },
    (socket) => void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{'),
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n');
      const timer = setInterval(() => socket.write(' '), 20);
      socket.on('close', () => clearInterval(timer));
    },
  ];
  for (const [i, behave] of cases.entries()) {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      // HTTPS is tried first on loopback: hang up on it.
      socket.once('data', (data) => (data[0] === 0x16 ? socket.destroy() : behave(socket)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await using engine = await openImages({ timeouts: { ...quick, headers: 300, stall: 200 } });
    const start = performance.now();
    await assert.rejects(engine.pull(`127.0.0.1:${port}/app`), { code: 'registryUnreachable' }, `case ${i}`);
    assert.ok(performance.now() - start < 6000);
    server.close();
  }
});

test('a certificate nobody vouches for fails, unless its authority is given or the registry is named insecure', async () => {
  await using registry = await startRegistry({ tls: true });
  await pushToTls(registry);
  // Loopback to the kernel, but not one of the addresses that are insecure without being named.
  const named = registry.host.replace('127.0.0.1', '[::ffff:7f00:1]');
  const ca = registry.ca as string;
  await using strict = await openImages();
  await assert.rejects(strict.pull(`${named}/app`), {
    code: 'registryUnreachable',
    message: /unknown authority/,
  });
  await using lax = await openImages({ insecureRegistries: [named] });
  assert.equal((await lax.pull(`${named}/app`)).id, image.id);
  await using trusting = await openImages({ certificateAuthorities: { [named]: ca } });
  assert.equal((await trusting.pull(`${named}/app`)).id, image.id);
  const certificates = await mkdtemp(join(tmpdir(), 'isle-certs-'));
  await mkdir(join(certificates, named));
  await copyFile(ca, join(certificates, named, 'ca.crt'));
  await using dockers = await openImages({ certificateDirectories: [certificates] });
  assert.equal((await dockers.pull(`${named}/app`)).id, image.id);
  await rm(certificates, { recursive: true });
});

test('a registry that wants a client certificate gets the one of its directory, and no other host does', async () => {
  await using authority = await startRegistry({ tls: true });
  const ca = authority.ca as string;
  const [cert = '', key = '', root = ''] = await Promise.all(
    ['server.crt', 'server.key', 'ca.crt'].map((name) => readFile(join(dirname(ca), name), 'utf8')),
  );
  await using registry = await startHostile({ images, tls: { cert, key, ca: root, requestCert: true } });
  const named = registry.host.replace('127.0.0.1', '[::ffff:7f00:1]');
  const certificates = await mkdtemp(join(tmpdir(), 'isle-certs-'));
  for (const host of [named, 'other.example']) await mkdir(join(certificates, host));
  await copyFile(ca, join(certificates, named, 'ca.crt'));
  await writeFile(join(certificates, 'other.example', 'client.cert'), cert);
  await writeFile(join(certificates, 'other.example', 'client.key'), key);
  await using without = await openImages({ certificateDirectories: [certificates] });
  await assert.rejects(without.pull(`${named}/app`), { code: 'registryUnreachable' });
  await writeFile(join(certificates, named, 'client.cert'), cert);
  await using lacking = await openImages({ certificateDirectories: [certificates] });
  await assert.rejects(lacking.pull(`${named}/app`), {
    message: /cannot read the certificate file .*client\.key: ENOENT/,
  });
  await writeFile(join(certificates, named, 'client.key'), key);
  await using engine = await openImages({ certificateDirectories: [certificates] });
  assert.equal((await engine.pull(`${named}/app`)).id, image.id);
  await rm(certificates, { recursive: true });
});

async function pushToTls(registry: Awaited<ReturnType<typeof startRegistry>>): Promise<void> {
  await using plain = await startRegistry();
  await using engine = await openImages();
  await pushTo(plain, 'app', image);
  const pulled = await engine.pull(`${plain.host}/app`);
  engine.images.tag(pulled.id, `${registry.host}/app`);
  await engine.images.push(`${registry.host}/app`, { onProgress: () => undefined });
  assert.ok(findBlob(images, layer));
}
