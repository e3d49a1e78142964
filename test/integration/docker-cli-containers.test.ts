import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { DockerClient } from '../fixtures/docker-client.ts';

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

test('version and info name Isle', async () => {
  assert.match(await docker.ok('version'), /Server: Isle/);
  assert.match(await docker.ok('info'), /Storage Driver: overlay2/);
});

test('run gives output, input and the exit code', async () => {
  assert.equal(await docker.ok('run', '--rm', 'busybox', 'echo', 'hello'), 'hello');
  const { stdout } = await docker.run(['run', '--rm', '-i', 'busybox', 'cat'], 'typed\n');
  assert.equal(stdout, 'typed\n');
  const failed = await docker.run(['run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2; exit 3']);
  assert.deepEqual(failed, { code: 3, stdout: 'out\n', stderr: 'err\n' });
  assert.equal(await docker.ok('ps', '-aq'), '');
});

test('a large output arrives whole', async () => {
  const { stdout } = await docker.run([
    'run',
    '--rm',
    'busybox',
    'sh',
    '-c',
    'dd if=/dev/zero bs=1M count=20 2>/dev/null',
  ]);
  assert.equal(stdout.length, 20 * 1024 * 1024);
});

test('a large input arrives whole', async () => {
  const input = Buffer.alloc(10 * 1024 * 1024, 'x');
  const { stdout } = await docker.run(['run', '--rm', '-i', 'busybox', 'wc', '-c'], input);
  assert.equal(stdout.trim(), String(input.length));
});

test('what cannot be run says so with 127, 126 and 125', async () => {
  const missing = await docker.run(['run', '--rm', 'busybox', 'no-such-command']);
  assert.equal(missing.code, 127);
  assert.match(missing.stderr, /executable file not found/);
  const directory = await docker.run(['run', '--rm', 'busybox', '/bin']);
  assert.equal(directory.code, 126, directory.stderr);
  const image = await docker.run(['run', '--rm', '--pull', 'never', 'no-such-image', 'true']);
  assert.equal(image.code, 125);
  assert.match(image.stderr, /No such image: no-such-image/);
  assert.equal((await docker.run(['run', '--rm', '--memory', '1', 'busybox', 'true'])).code, 125);
  assert.equal(await docker.ok('ps', '-aq'), '');
});

test('a container from run -d to rm -f', async () => {
  await docker.ok(
    'run',
    '-d',
    '--name',
    'one',
    '-e',
    'A=b',
    '--label',
    'l=v',
    'busybox',
    'sh',
    '-c',
    'echo started; sleep 1000',
  );
  assert.match(await docker.ok('ps'), /one/);
  assert.equal(await docker.ok('ps', '-q', '--filter', 'label=l=x'), '');
  assert.equal(await docker.ok('inspect', '-f', '{{.State.Running}} {{.Config.Labels.l}}', 'one'), 'true v');
  assert.equal(await docker.ok('exec', 'one', 'sh', '-c', 'echo $A'), 'b');
  assert.equal((await docker.run(['exec', '-i', 'one', 'cat'], 'in')).stdout, 'in');
  assert.equal((await docker.run(['exec', 'one', 'sh', '-c', 'exit 7'])).code, 7);
  const missing = await docker.run(['exec', 'one', 'no-such-command']);
  assert.equal(missing.code, 127);
  assert.equal(
    await docker.ok('exec', '-w', '/tmp', '-u', '1000', 'one', 'sh', '-c', 'pwd; id -u'),
    '/tmp\n1000',
  );
  assert.match(await docker.ok('top', 'one'), /sleep 1000/);
  assert.equal(await docker.ok('logs', 'one'), 'started');
  assert.match(await docker.ok('logs', '-t', 'one'), /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z started$/);
  assert.match(await docker.ok('stats', '--no-stream', 'one'), /one .*%.*iB/);
  await docker.ok('pause', 'one');
  assert.match(await docker.ok('ps'), /Paused/);
  await docker.ok('unpause', 'one');
  await docker.ok('update', '--memory', '128m', '--memory-swap', '128m', 'one');
  await docker.ok('rename', 'one', 'two');
  await docker.ok('restart', '-t', '0', 'two');
  await docker.ok('stop', '-t', '0', 'two');
  assert.match(await docker.ok('ps', '-a', '--filter', 'status=exited'), /Exited \(137\)/);
  await docker.ok('start', 'two');
  await docker.ok('kill', 'two');
  assert.equal(await docker.ok('wait', 'two'), '137');
  await docker.ok('start', 'two');
  await docker.ok('rm', '-f', 'two');
  assert.match((await docker.run(['inspect', 'two'])).stderr, /No such object: two/);
});

test('a terminal: run -it, resize, detach, attach', async () => {
  const run = docker.terminal(['run', '-it', '--name', 'term', 'busybox', 'sh']);
  await run.see(/# /);
  run.type('echo a$((1+1))\n');
  await run.see(/a2\r/);
  run.type('tty\n');
  await run.see(/\/dev\/(pts\/\d|console)/);
  run.type('\x10\x11');
  assert.equal(await run.end(), 0);
  assert.equal(await docker.ok('inspect', '-f', '{{.State.Running}}', 'term'), 'true');
  const attach = docker.terminal(['attach', 'term']);
  await sleep(300);
  attach.type('echo b$((2+2))\n');
  await attach.see(/b4\r/);
  attach.type('exit 5\n');
  assert.equal(await attach.end(), 5);
  await docker.ok('rm', 'term');
});

test('exec -it has a terminal of its own', async () => {
  await docker.ok('run', '-d', '--name', 'exec', 'busybox', 'sleep', '1000');
  const shell = docker.terminal(['exec', '-it', 'exec', 'sh']);
  await shell.see(/# /);
  shell.type('test -t 0 && echo yes$((3+3)); exit 4\n');
  await shell.see(/yes6/);
  assert.equal(await shell.end(), 4);
  await docker.ok('rm', '-f', 'exec');
});

test('logs -f ends with its container, start -a gives the output again', async () => {
  await docker.ok(
    'run',
    '-d',
    '--name',
    'log',
    'busybox',
    'sh',
    '-c',
    'for i in 1 2 3; do echo $i; sleep 0.2; done',
  );
  assert.equal(await docker.ok('logs', '-f', 'log'), '1\n2\n3');
  assert.equal(await docker.ok('logs', '--tail', '1', 'log'), '3');
  assert.equal(await docker.ok('start', '-a', 'log'), '1\n2\n3');
  await docker.ok('rm', 'log');
});

test('cp works both ways, on what runs and what does not', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-cp-'));
  writeFileSync(join(directory, 'in'), 'content');
  await docker.ok('create', '--name', 'cp', 'busybox', 'sleep', '1000');
  await docker.ok('cp', join(directory, 'in'), 'cp:/tmp/copied');
  await docker.ok('start', 'cp');
  assert.equal(await docker.ok('exec', 'cp', 'cat', '/tmp/copied'), 'content');
  await docker.ok('cp', 'cp:/tmp/copied', join(directory, 'out'));
  assert.equal(readFileSync(join(directory, 'out'), 'utf8'), 'content');
  const missing = await docker.run(['cp', 'cp:/nope', directory]);
  assert.match(missing.stderr, /Could not find the file \/nope in container cp/);
  assert.equal(await docker.ok('diff', 'cp'), 'C /tmp\nA /tmp/copied');
  await docker.ok('rm', '-f', 'cp');
  rmSync(directory, { recursive: true });
});
