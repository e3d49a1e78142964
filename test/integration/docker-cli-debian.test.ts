import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { debianDockerClient, DockerClient } from '../fixtures/docker-client.ts';

/** The oldest client that Isle promises to serve: it speaks API 1.41, without multiplexed content types. */
let daemon: TestDaemon;
let docker: DockerClient;

before(async () => {
  daemon = await startDaemon();
  docker = new DockerClient(daemon.host, debianDockerClient());
});

after(async () => {
  docker[Symbol.dispose]();
  await daemon.close();
});

test("Debian's own client runs, looks into and removes containers", async () => {
  assert.match(await docker.ok('version'), /Server: Isle/);
  const failed = await docker.run(['run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2; exit 3']);
  assert.deepEqual(failed, { code: 3, stdout: 'out\n', stderr: 'err\n' });
  assert.equal((await docker.run(['run', '--rm', '-i', 'busybox', 'cat'], 'typed')).stdout, 'typed');
  await docker.ok(
    'run',
    '-d',
    '--name',
    'old',
    '-v',
    'vol:/v',
    'busybox',
    'sh',
    '-c',
    'echo started; sleep 1000',
  );
  assert.equal((await docker.run(['exec', '-i', 'old', 'cat'], 'in')).stdout, 'in');
  assert.equal((await docker.run(['exec', 'old', 'no-such-command'])).code, 127);
  assert.match(await docker.ok('ps'), /old/);
  assert.equal(await docker.ok('logs', 'old'), 'started');
  assert.match(await docker.ok('stats', '--no-stream', 'old'), /old .*%.*iB/);
  assert.match(await docker.ok('inspect', 'old'), /"Status": "running"/);
  await docker.ok('stop', '-t', '0', 'old');
  await docker.ok('rm', '-f', 'old');
  assert.match(await docker.ok('images'), /busybox/);
  assert.match(await docker.ok('volume', 'ls'), /vol/);
  await docker.ok('volume', 'rm', 'vol');
  assert.match(await docker.ok('network', 'ls'), /bridge/);
  assert.match(await docker.ok('system', 'df'), /Images +1/);
  assert.equal((await docker.run(['rmi', 'no-such-image'])).code, 1);
});

test('its terminal works, and the detach keys', async () => {
  const run = docker.terminal(['run', '-it', '--name', 'term', 'busybox', 'sh']);
  await run.see(/# /);
  run.type('echo a$((1+1))\n');
  await run.see(/a2\r/);
  run.type('\x10\x11');
  assert.equal(await run.end(), 0);
  const attach = docker.terminal(['attach', 'term']);
  attach.type('\n');
  await attach.see(/# /);
  attach.type('exit 5\n');
  assert.equal(await attach.end(), 5);
  await docker.ok('rm', 'term');
});
