import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DockerCredentials, encodeRegistryAuth } from './docker-credentials.ts';

async function setUp(config?: unknown) {
  const dir = await mkdtemp(join(tmpdir(), 'isle-credentials-'));
  const file = join(dir, 'config.json');
  if (config !== undefined)
    await writeFile(file, typeof config === 'string' ? config : JSON.stringify(config));
  const credentials = new DockerCredentials({ DOCKER_CONFIG: dir, PATH: `.:${dir}:/usr/bin:/bin` });
  return { dir, file, credentials, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

/** A helper that keeps what it is given in a file beside it. */
async function addHelper(dir: string, name: string): Promise<void> {
  const path = join(dir, `docker-credential-${name}`);
  await writeFile(
    path,
    `#!/bin/sh
case $1 in
store) cat > ${dir}/kept ;;
get) [ -f ${dir}/kept ] || { echo "credentials not found in native keychain"; exit 1; }; cat ${dir}/kept ;;
erase) rm -f ${dir}/kept ;;
esac
`,
  );
  await chmod(path, 0o755);
}

test('credentials are kept in config.json, privately, beside what else is there', async () => {
  await using it = await setUp({ auths: { 'other:5000': { auth: 'eDp5' } }, psFormat: 'x' });
  assert.equal(await it.credentials.get('docker.io'), undefined);
  await it.credentials.store('docker.io', { username: 'me', password: 'a:b' });
  assert.deepEqual(await it.credentials.get('docker.io'), {
    username: 'me',
    password: 'a:b',
    identityToken: undefined,
    serverAddress: 'https://index.docker.io/v1/',
  });
  assert.equal((await it.credentials.get('other:5000'))?.password, 'y');
  const kept = JSON.parse(await readFile(it.file, 'utf8')) as Record<string, unknown>;
  assert.equal(kept.psFormat, 'x');
  assert.equal((await stat(it.file)).mode & 0o777, 0o600);
  assert.equal(await it.credentials.erase('docker.io'), true);
  assert.equal(await it.credentials.erase('docker.io'), false);
  assert.equal(await it.credentials.get('docker.io'), undefined);
});

test('entries that older tools wrote with a scheme and a path are found by their host', async () => {
  await using it = await setUp({ auths: { 'https://reg.example:5000/v2/': { auth: 'eDp5' } } });
  assert.equal((await it.credentials.get('reg.example:5000'))?.username, 'x');
  assert.equal(await it.credentials.get('reg.example'), undefined);
});

test('a helper keeps the secret instead of the file, for all registries or for one', async () => {
  for (const config of [{ credsStore: 'test' }, { credHelpers: { 'reg:5000': 'test' } }]) {
    await using it = await setUp(config);
    await addHelper(it.dir, 'test');
    assert.equal(await it.credentials.get('reg:5000'), undefined);
    await it.credentials.store('reg:5000', { username: 'me', password: 'secret' });
    assert.equal((await it.credentials.get('reg:5000'))?.password, 'secret');
    assert.doesNotMatch(await readFile(it.file, 'utf8'), /secret/);
    await it.credentials.store('reg:5000', { username: 'me', identityToken: 'refresh' });
    assert.equal((await it.credentials.get('reg:5000'))?.identityToken, 'refresh');
    await it.credentials.erase('reg:5000');
    assert.equal(await it.credentials.get('reg:5000'), undefined);
  }
});

test('a helper’s name cannot lead to anything but a program of the PATH', async () => {
  for (const name of ['../x', '/bin/sh', 'a b', '$(id)', '-x', ';id', 'missing']) {
    await using it = await setUp({ credsStore: name });
    await assert.rejects(it.credentials.get('docker.io'), {
      code: 'invalidParameter',
      message: /^credential helper/,
    });
  }
});

test('a broken file is named, with what is wrong', async () => {
  await using it = await setUp('{nonsense');
  await assert.rejects(it.credentials.get('docker.io'), { message: /config\.json: it is not valid JSON/ });
  await using bad = await setUp({ auths: { 'reg:1': { auth: Buffer.from('nocolon').toString('base64') } } });
  await assert.rejects(bad.credentials.get('reg:1'), {
    message: /the entry for reg:1 is not base64 of user:password/,
  });
});

test('the header carries Docker’s JSON', () => {
  const header = encodeRegistryAuth({ username: 'a', password: 'ÿ?>', serverAddress: 's' });
  assert.match(header, /^[A-Za-z0-9_-]+$/);
  assert.deepEqual(JSON.parse(Buffer.from(header, 'base64url').toString()), {
    username: 'a',
    password: 'ÿ?>',
    serveraddress: 's',
  });
});
