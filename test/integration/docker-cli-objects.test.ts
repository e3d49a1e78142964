import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { DockerClient } from '../fixtures/docker-client.ts';
import { startRegistry } from '../fixtures/registry.ts';

let daemon: TestDaemon;
let docker: DockerClient;

before(async () => {
  daemon = await startDaemon();
  docker = new DockerClient(daemon.host);
});

after(async () => {
  docker[Symbol.dispose]();
  await daemon.close();
});

test('images: list, history, tag, inspect, save, load, remove', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-save-'));
  const archive = join(directory, 'image.tar');
  assert.match(await docker.ok('images'), /busybox +latest/);
  await docker.ok('tag', 'busybox', 'a/b/c:d');
  assert.match(await docker.ok('history', 'a/b/c:d'), /IMAGE/);
  const id = await docker.ok('inspect', '-f', '{{.Id}}', 'a/b/c:d');
  await docker.ok('save', '-o', archive, 'a/b/c:d');
  assert.match(await docker.ok('rmi', 'a/b/c:d'), /Untagged: a\/b\/c:d/);
  assert.match(await docker.ok('load', '-i', archive), /Loaded image: a\/b\/c:d/);
  assert.equal(await docker.ok('inspect', '-f', '{{.Id}}', 'a/b/c:d'), id);
  await docker.ok('rmi', 'a/b/c:d');
  rmSync(directory, { recursive: true });
});

test('push and pull through a registry, with progress and clear errors', async () => {
  await using registry = await startRegistry();
  const name = `${registry.host}/dir/busybox:1`;
  await docker.ok('tag', 'busybox', name);
  assert.match(await docker.ok('push', name), /1: digest: sha256:[0-9a-f]{64} size: \d+/);
  await docker.ok('rmi', name);
  assert.match(await docker.ok('pull', name), new RegExp(`Status: .* for ${name}`));
  assert.equal(await docker.ok('run', '--rm', name, 'echo', 'pulled'), 'pulled');
  await docker.ok('rmi', name);
  const missing = await docker.run(['pull', `${registry.host}/dir/busybox:2`]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /not found|unknown/);
});

test('run pulls what is missing', async () => {
  await using registry = await startRegistry();
  const name = `${registry.host}/auto:1`;
  await docker.ok('tag', 'busybox', name);
  await docker.ok('push', name);
  await docker.ok('rmi', name);
  const { stdout, stderr } = await docker.run(['run', '--rm', name, 'echo', 'ran']);
  assert.equal(stdout, 'ran\n');
  assert.match(stderr, /Unable to find image/);
  await docker.ok('rmi', name);
});

test('commit and import make images that run', async () => {
  await docker.ok('run', '--name', 'base', 'busybox', 'sh', '-c', 'echo kept > /file');
  await docker.ok('commit', '-c', 'CMD cat /file', 'base', 'committed:1');
  assert.equal(await docker.ok('run', '--rm', 'committed:1'), 'kept');
  const directory = mkdtempSync(join(tmpdir(), 'isle-export-'));
  await docker.ok('export', '-o', join(directory, 'root.tar'), 'base');
  await docker.ok('import', join(directory, 'root.tar'), 'imported:1');
  assert.equal(await docker.ok('run', '--rm', 'imported:1', 'cat', '/file'), 'kept');
  await docker.ok('rm', 'base');
  await docker.ok('rmi', 'committed:1', 'imported:1');
  rmSync(directory, { recursive: true });
});

test('volumes', async () => {
  await docker.ok('volume', 'create', '--label', 'a=b', 'vol');
  await docker.ok('run', '--rm', '-v', 'vol:/data', 'busybox', 'sh', '-c', 'echo x > /data/f');
  assert.equal(await docker.ok('run', '--rm', '-v', 'vol:/data:ro', 'busybox', 'cat', '/data/f'), 'x');
  assert.match(await docker.ok('volume', 'ls'), /local +vol/);
  assert.match(await docker.ok('volume', 'inspect', 'vol'), /"Scope": "local"/);
  await docker.ok('create', '--name', 'user', '-v', 'vol:/x', 'busybox');
  const used = await docker.run(['volume', 'rm', 'vol']);
  assert.match(used.stderr, /volume is in use/);
  await docker.ok('rm', 'user');
  await docker.ok('volume', 'rm', 'vol');
  await docker.ok('run', '-v', '/anonymous', '--name', 'anon', 'busybox', 'true');
  await docker.ok('rm', 'anon');
  assert.match(await docker.ok('volume', 'prune', '-f'), /Total reclaimed space/);
  assert.equal(await docker.ok('volume', 'ls', '-q'), '');
});

test('networks: names resolve, connect and disconnect', async () => {
  await docker.ok('network', 'create', '--label', 'x=y', 'net');
  assert.match(await docker.ok('network', 'ls'), /net +bridge +local/);
  await docker.ok(
    'run',
    '-d',
    '--name',
    'server',
    '--network',
    'net',
    '--network-alias',
    'web',
    'busybox',
    'sleep',
    '1000',
  );
  assert.match(
    await docker.ok('run', '--rm', '--network', 'net', 'busybox', 'ping', '-c', '1', 'web'),
    /1 packets received/,
  );
  assert.match(await docker.ok('network', 'inspect', 'net'), /"Name": "server"/);
  await docker.ok('network', 'connect', 'bridge', 'server');
  await docker.ok('network', 'disconnect', 'net', 'server');
  await docker.ok('rm', '-f', 'server');
  await docker.ok('network', 'rm', 'net');
});

test('a published port answers', async () => {
  const serve = 'while true; do echo hi | nc -l -p 8080; done';
  await docker.ok('run', '-d', '--name', 'web', '-p', '127.0.0.1::8080', 'busybox', 'sh', '-c', serve);
  // The shell in there needs a moment until it listens.
  while (!(await docker.ok('exec', 'web', 'netstat', '-lnt')).includes(':8080')) continue;
  const address = await docker.ok('port', 'web', '8080');
  const [host = '', port = ''] = address.split(':');
  const socket = connect(Number(port), host);
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString()));
  await once(socket, 'close');
  assert.equal(text, 'hi\n');
  await docker.ok('rm', '-f', 'web');
});

test('events, system df and prune', async () => {
  const since = Math.floor(Date.now() / 1000) - 1;
  await docker.ok('run', '--rm', '--name', 'seen', 'busybox', 'true');
  const until = Math.ceil(Date.now() / 1000) + 1;
  const events = await docker.ok(
    'events',
    '--since',
    `${since}`,
    '--until',
    `${until}`,
    '--filter',
    'container=seen',
    '--format',
    '{{.Action}}',
  );
  assert.deepEqual(
    events.split('\n').filter((action) => /^(create|attach|start|die|destroy)$/.test(action)),
    ['create', 'attach', 'start', 'die', 'destroy'],
  );
  assert.match(await docker.ok('system', 'df'), /Images +1/);
  await docker.ok('create', 'busybox');
  assert.match(await docker.ok('container', 'prune', '-f'), /Deleted Containers/);
  await docker.ok('system', 'prune', '-f');
});

test('what Isle does not do is said by name', async () => {
  const swarm = await docker.run(['swarm', 'init']);
  assert.match(swarm.stderr, /POST \/swarm\/init is not supported by Isle/);
  const search = await docker.run(['search', 'x']);
  assert.match(search.stderr, /GET \/images\/search is not supported by Isle/);
});
