import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { openImages } from '../fixtures/engine-images.ts';
import { sendError, startHostile, type SeenRequest } from '../fixtures/hostile-registry.ts';
import { buildImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry } from '../fixtures/registry.ts';

const image = buildImage({ layers: [{ a: 'one' }] });
const images = { 'app:latest': image };
const auth = { username: 'me', password: 'top-secret' };
const basic = `Basic ${Buffer.from('me:top-secret').toString('base64')}`;

const authorized = (requests: SeenRequest[]) =>
  requests.filter(({ headers }) => headers.authorization !== undefined);

test('credentials do not follow a redirect to another host, and its challenge is not answered (CVE-2024-3727)', async () => {
  await using storage = await startHostile({ images });
  await using registry = await startHostile({
    images,
    script: (request, response, path) => {
      if (request.headers.authorization !== basic) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
        return true;
      }
      if (!path.includes('/blobs/')) return false;
      response.writeHead(307, { location: `${storage.url}${path}` }).end();
      return true;
    },
  });
  await using engine = await openImages();
  assert.equal((await engine.pull(`${registry.host}/app`, { auth })).id, image.id);
  assert.ok(authorized(registry.requests).length > 0);
  assert.ok(storage.requests.length > 0);
  assert.deepEqual(authorized(storage.requests), []);

  storage.play((_request, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="give me"' }).end();
    return true;
  });
  await using other = await openImages();
  await assert.rejects(other.pull(`${registry.host}/app`, { auth }), { code: 'pullDenied' });
  assert.deepEqual(authorized(storage.requests), []);
});

test('a bearer token stays with its registry too', async () => {
  await using storage = await startHostile({ images });
  await using registry = await startHostile({ images });
  registry.play((request, response, path) => {
    if (path === '/token') {
      response.end(JSON.stringify({ token: 'tok' }));
      return true;
    }
    if (request.headers.authorization !== 'Bearer tok') {
      response
        .writeHead(401, { 'www-authenticate': `Bearer realm="${registry.url}/token",service="s"` })
        .end();
      return true;
    }
    if (!path.includes('/blobs/')) return false;
    response.writeHead(302, { location: `${storage.url}${path}?signature=x` }).end();
    return true;
  });
  await using engine = await openImages();
  await engine.pull(`${registry.host}/app`, { auth });
  assert.deepEqual(authorized(storage.requests), []);
  const asked = registry.requests.find(({ path }) => path.startsWith('/token'));
  assert.equal(asked?.headers.authorization, basic);
  assert.match(asked?.path ?? '', /scope=repository%3Aapp%3Apull/);
});

test('an upload’s Location on another host gets the bytes but no credentials', async () => {
  await using registry = await startRegistry();
  await using engine = await openImages();
  await using elsewhere = await startHostile({
    script: (request, response) => {
      request.resume();
      request.on('end', () => response.writeHead(201).end());
      return true;
    },
  });
  await using target = await startHostile({
    script: (request, response, path) => {
      request.resume();
      if (request.headers.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
      else if (path === '/v2/') response.writeHead(200).end();
      else if (request.method === 'POST')
        response.writeHead(202, { location: `${elsewhere.url}/upload` }).end();
      else if (request.method === 'PUT') response.writeHead(201).end();
      else response.writeHead(404).end();
      return true;
    },
  });
  await pushTo(registry, 'app', image);
  const pulled = await engine.pull(`${registry.host}/app`);
  engine.images.tag(pulled.id, `${target.host}/app`);
  await engine.images.push(`${target.host}/app`, { auth, onProgress: () => undefined });
  assert.ok(elsewhere.requests.length > 0);
  assert.deepEqual(authorized(elsewhere.requests), []);
});

test('mirrors are asked first, but never with the registry’s credentials', async () => {
  await using mirror = await startHostile({
    script: (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
      return true;
    },
  });
  await using registry = await startHostile({ images });
  await using engine = await openImages({ mirrors: { [registry.host]: [mirror.url] } });
  await engine.pull(`${registry.host}/app`, { auth });
  assert.ok(mirror.requests.length > 0);
  assert.deepEqual(authorized(mirror.requests), []);
});

test('a token server over plain HTTP, or one that is no URL, is refused', async () => {
  for (const realm of [
    'http://token.example.com/',
    'file:///etc/passwd',
    'nonsense',
    'gopher://127.0.0.1/',
  ]) {
    await using registry = await startHostile({
      images,
      script: (_request, response) => {
        response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
        return true;
      },
    });
    await using engine = await openImages();
    await assert.rejects(engine.pull(`${registry.host}/app`, { auth }), {
      code: 'registryAnswer',
      message: /token server that/,
    });
  }
});

test('redirects that never end, or leave http, are refused', async () => {
  for (const [location, message] of [
    ['', /more than 5 redirects/],
    ['file:///etc/shadow', /not an http\(s\) URL/],
    ['ftp://127.0.0.1/x', /not an http\(s\) URL/],
  ] as const) {
    await using registry = await startHostile({
      images,
      script: (_request, response, path) => {
        if (!path.includes('/blobs/')) return false;
        response.writeHead(302, { location: location || path }).end();
        return true;
      },
    });
    await using engine = await openImages();
    await assert.rejects(engine.pull(`${registry.host}/app`), { code: 'registryAnswer', message });
  }
});

test('HTTPS does not become HTTP by a redirect', async () => {
  await using real = await startRegistry({ tls: true });
  const dir = (real.ca as string).replace(/ca\.crt$/, '');
  const tls = {
    cert: await readFile(`${dir}server.crt`, 'utf8'),
    key: await readFile(`${dir}server.key`, 'utf8'),
  };
  await using registry = await startHostile({
    images,
    tls,
    script: (_request, response, path) => {
      if (!path.includes('/blobs/')) return false;
      response.writeHead(302, { location: `http://storage.example.com${path}` }).end();
      return true;
    },
  });
  // Loopback to the kernel, but not one of the addresses that are insecure without being named.
  const named = registry.host.replace('127.0.0.1', '[::ffff:7f00:1]');
  await using engine = await openImages({ certificateAuthorities: { [named]: real.ca as string } });
  await assert.rejects(engine.pull(`${named}/app`), { message: /redirect from HTTPS to plain HTTP/ });
});

test('what a token server sends cannot split a header, and its refusal is told in its words', async () => {
  await using registry = await startHostile({ images });
  const answers: [number, string, object][] = [
    [200, JSON.stringify({ token: 'a\r\nx-evil: 1' }), { message: /characters that no header may/ }],
    [200, JSON.stringify({ nothing: 1 }), { message: /something that is not a token/ }],
    [200, '<html>', { message: /not JSON/ }],
    [
      401,
      JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'incorrect\nusername' }] }),
      { code: 'pullDenied', message: /unauthorized: incorrect username$/ },
    ],
  ];
  for (const [status, body, expected] of answers) {
    registry.play((_request, response, path) => {
      if (path === '/token') response.writeHead(status).end(body);
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="${registry.url}/token"` }).end();
      return true;
    });
    await using engine = await openImages();
    await assert.rejects(engine.pull(`${registry.host}/app`, { auth }), expected);
  }
  registry.play((_request, response) => {
    sendError(response, 401, 'UNAUTHORIZED', 'authentication required');
    return true;
  });
  await using engine = await openImages();
  await assert.rejects(engine.pull(`${registry.host}/app`, { auth }), { code: 'pullDenied' });
});

test('a token server that is busy is asked again', async () => {
  let refusals = 2;
  await using registry = await startHostile({ images });
  registry.play((request, response, path) => {
    if (path === '/token' && refusals-- > 0) response.writeHead(503, { 'retry-after': '0' }).end();
    else if (path === '/token') response.end(JSON.stringify({ access_token: 'tok' }));
    else if (request.headers.authorization === 'Bearer tok') return false;
    else response.writeHead(401, { 'www-authenticate': `Bearer realm="${registry.url}/token"` }).end();
    return true;
  });
  await using engine = await openImages();
  assert.equal((await engine.pull(`${registry.host}/app`, { auth })).id, image.id);
});
