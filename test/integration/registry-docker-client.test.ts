import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { execFile, spawn } from 'node:child_process';
import { dockerClientPath } from '../fixtures/docker-client.ts';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { startHostile } from '../fixtures/hostile-registry.ts';
import { buildImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry, testUser } from '../fixtures/registry.ts';

let daemon: TestDaemon;
let home: string;
const client = dockerClientPath();

before(async () => {
  daemon = await startDaemon({ busybox: false });
  home = await mkdtemp(join(tmpdir(), 'isle-docker-home-'));
});
after(async () => {
  await daemon.close();
  await rm(home, { recursive: true });
});

/** What the stock client says; a failure rejects with its standard error in the message. */
async function docker(...args: string[]): Promise<string> {
  const env = { ...process.env, DOCKER_HOST: daemon.host, DOCKER_CONFIG: home };
  return (await promisify(execFile)(client, args, { env, timeout: 30_000 })).stdout;
}

test('login, push, logout and pull with the stock client, against a registry with passwords', async () => {
  await using registry = await startRegistry({ htpasswd: true });
  const image = buildImage({ layers: [{ a: '1' }] });
  await pushTo(registry, 'app', image);
  const ref = `${registry.host}/app`;
  const login = (password: string) => docker('login', '-u', testUser.username, '-p', password, registry.host);
  await assert.rejects(docker('pull', ref), /unauthorized|denied|no basic auth/);
  await assert.rejects(login('wrong'), /unauthorized/);
  assert.match(await login(testUser.password), /Login Succeeded/);
  assert.match(await docker('pull', ref), /Downloaded newer image/);
  await docker('tag', ref, `${registry.host}/copy:v1`);
  assert.match(await docker('push', `${registry.host}/copy:v1`), new RegExp(`v1: digest: ${image.digest}`));
  await docker('logout', registry.host);
  await assert.rejects(docker('pull', ref), /unauthorized|denied|no basic auth/);
  assert.equal((await docker('images', '-q', '--no-trunc', ref)).trim(), image.id);
  await docker('rmi', ref, `${registry.host}/copy:v1`);
});

test('Ctrl-C during a pull stops it, leaves nothing half-made, and the next pull goes on', async () => {
  const image = buildImage({ layers: [{ noise: randomBytes(500_000) }], compression: 'none' });
  const layer = [...image.blobs.keys()][0] as string;
  await using registry = await startHostile({ images: { 'slow:latest': image } });
  const halfway = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  registry.play((_request, response, path) => {
    if (!path.includes(layer)) return false;
    const bytes = image.blobs.get(layer) as Buffer;
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, 300_000), () => setTimeout(halfway.resolve, 1500));
    response.on('close', gone.resolve);
    return true;
  });
  const ref = `${registry.host}/slow`;
  const env = { ...process.env, DOCKER_HOST: daemon.host, DOCKER_CONFIG: home };
  const pulling = spawn(client, ['pull', ref], { env, stdio: 'ignore' });
  await halfway.promise;
  pulling.kill('SIGINT');
  await gone.promise;
  assert.equal((await docker('images', '-q')).trim(), '');
  registry.play(undefined);
  assert.match(await docker('pull', ref), /Downloaded newer image/);
  assert.match(registry.requests.at(-1)?.headers.range ?? '', /^bytes=[1-9]\d*-$/);
  assert.deepEqual(await readdir(join(daemon.dataRoot, 'ingest')), []);
  await docker('rmi', ref);
});

test('what goes wrong is one clear line', async () => {
  await using registry = await startRegistry();
  const cases: [string[], RegExp][] = [
    [['pull', `${registry.host}/no:tag`], /manifest for \S+\/no:tag not found: manifest unknown/],
    [['pull', '127.0.0.1:1/app'], /cannot reach registry 127\.0\.0\.1:1: connection refused/],
    [['push', `${registry.host}/no`], /does not exist locally with the tag/],
    [['rmi', 'nothing'], /No such image: nothing:latest/],
    [['tag', 'nothing', 'x'], /No such image: nothing:latest/],
    [['history', 'nothing'], /No such image: nothing:latest/],
  ];
  for (const [args, message] of cases)
    await assert.rejects(docker(...args), (error: Error & { stderr: string; code: number }) => {
      assert.match(error.stderr, message);
      assert.equal(error.code, 1);
      return true;
    });
});
