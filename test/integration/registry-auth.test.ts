import assert from 'node:assert/strict';
import { createServer, request as httpRequest } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { openImages } from '../fixtures/engine-images.ts';
import { startHostile } from '../fixtures/hostile-registry.ts';
import { buildImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry, testUser, type TestRegistry } from '../fixtures/registry.ts';

const image = buildImage({ layers: [{ a: 'one' }, { b: 'two' }] });
const silent = { onProgress: () => undefined };

async function withImage(engine: Awaited<ReturnType<typeof openImages>>): Promise<string> {
  await using plain = await startRegistry();
  await pushTo(plain, 'app', image);
  return (await engine.pull(`${plain.host}/app`)).id;
}

async function roundTrip(registry: TestRegistry): Promise<void> {
  await using engine = await openImages();
  const id = await withImage(engine);
  const ref = `${registry.host}/private/app:v1`;
  engine.images.tag(id, ref);
  await assert.rejects(
    engine.images.push(ref, silent),
    /registryUnauthorized|unauthorized|denied|no basic auth/,
  );
  await engine.images.push(ref, { ...silent, auth: testUser });
  await using other = await openImages();
  await assert.rejects(other.pull(ref), /denied|unauthorized/);
  await assert.rejects(other.pull(ref, { auth: { ...testUser, password: 'wrong' } }), /unauthorized|denied/);
  assert.equal((await other.pull(ref, { auth: testUser })).id, image.id);
}

test('basic authentication: pull, push and login with the right credentials only', async () => {
  await using registry = await startRegistry({ htpasswd: true });
  await roundTrip(registry);
  await using engine = await openImages();
  const login = (password: string) =>
    engine.images.login({ ...testUser, password, serverAddress: registry.host });
  assert.deepEqual(await login(testUser.password), { status: 'Login Succeeded', identityToken: undefined });
  await assert.rejects(login('wrong'), { code: 'registryUnauthorized' });
});

test('tokens: anonymous pulls, scoped tokens for pull and push, refresh tokens after a login', async () => {
  await using registry = await startRegistry({ token: true });
  await roundTrip(registry);
  const asked = registry.tokenServer?.requests ?? [];
  assert.ok(asked.some(({ scopes }) => scopes.includes('repository:private/app:pull,push')));

  await using engine = await openImages();
  const { status, identityToken } = await engine.images.login({ ...testUser, serverAddress: registry.host });
  assert.equal(status, 'Login Succeeded');
  assert.equal(identityToken, 'refresh-of-isle');
  await engine.pull(`${registry.host}/private/app:v1`, { auth: { identityToken } });
  assert.equal(asked.at(-1)?.grant, 'refresh_token');

  engine.images.tag(image.id, `${registry.host}/public/app`);
  await engine.images.push(`${registry.host}/public/app`, { ...silent, auth: testUser });
  assert.ok(
    asked.some(({ scopes }) => scopes.includes('repository:private/app:pull')),
    'asked for the mount',
  );
  await using stranger = await openImages();
  assert.equal((await stranger.pull(`${registry.host}/public/app`)).id, image.id);
  await assert.rejects(engine.images.login({ ...testUser, password: 'x', serverAddress: registry.host }), {
    code: 'registryUnauthorized',
    message: /incorrect username or password/,
  });
});

test('a mirror serves Docker Hub’s images under their own names', async () => {
  await using mirror = await startRegistry();
  await pushTo(mirror, 'library/busybox:1', image);
  await using engine = await openImages({ mirrors: { 'docker.io': [mirror.url] } });
  const pulled = await engine.pull('busybox:1');
  assert.deepEqual(pulled.tags, ['busybox:1']);
  assert.deepEqual(pulled.repoDigests, [`busybox@${image.digest}`]);
});

test('a mirror that is down or lacks the image is passed by', async () => {
  await using registry = await startRegistry();
  await using empty = await startRegistry();
  await pushTo(registry, 'app', image);
  const mirrors = { [registry.host]: ['http://127.0.0.1:1', empty.url] };
  await using engine = await openImages({ mirrors });
  assert.equal((await engine.pull(`${registry.host}/app`)).id, image.id);
});

test('a mirror that loses its blobs in the middle of a pull is passed by for each of them', async () => {
  await using registry = await startRegistry();
  const many = buildImage({ layers: ['1', '2', '3', '4', '5'].map((a) => ({ a })) });
  await pushTo(registry, 'app', many);
  await using mirror = await startHostile({
    images: { 'app:latest': many },
    script: (_request, response, path) => {
      if (!path.includes('/blobs/')) return false;
      response.writeHead(500).end();
      return true;
    },
  });
  await using engine = await openImages({
    mirrors: { [registry.host]: [mirror.url] },
    maxConcurrentDownloads: 5,
  });
  assert.equal((await engine.pull(`${registry.host}/app`)).id, many.id);
});

test('a proxy is used as the environment says, and not for what NO_PROXY names', async () => {
  await using registry = await startRegistry();
  await pushTo(registry, 'app', image);
  const asked: string[] = [];
  const proxy = createServer((incoming, outgoing) => {
    asked.push(incoming.url ?? '');
    const url = new URL(incoming.url ?? '');
    const target = {
      host: '127.0.0.1',
      port: registry.host.split(':')[1],
      path: url.pathname,
      headers: incoming.headers,
    };
    httpRequest(target, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(outgoing);
    }).end();
  });
  proxy.on('connect', (incoming, socket, head) => {
    asked.push(`CONNECT ${incoming.url}`);
    const through = connect(Number(registry.host.split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      through.write(head);
      through.pipe(socket).pipe(through);
    });
    through.on('error', () => socket.destroy());
    socket.on('error', () => through.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const environment = { HTTP_PROXY: url, HTTPS_PROXY: url };
  const insecureRegistries = ['registry.invalid'];
  await using engine = await openImages({ environment, insecureRegistries });
  assert.equal((await engine.pull('registry.invalid/app')).id, image.id);
  assert.ok(asked.some((line) => line === 'CONNECT registry.invalid:443'));
  assert.ok(asked.some((line) => line.startsWith('http://registry.invalid/v2/app/manifests/')));
  await using direct = await openImages({
    environment: { ...environment, NO_PROXY: '.invalid' },
    insecureRegistries,
  });
  await assert.rejects(direct.pull('registry.invalid/app'), { message: /no such host|cannot be resolved/ });
  proxy.close();
  proxy.closeAllConnections();
});
