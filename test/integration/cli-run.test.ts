import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isle as call, type CallOptions, outcomeOf, spawnIsle } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';

describe('isle run and what follows it', () => {
  let daemon: TestDaemon;
  let work: string;
  before(async () => {
    daemon = await startDaemon();
    work = mkdtempSync(join(tmpdir(), 'isle-cli-run-'));
  });
  after(async () => {
    await daemon?.close();
    rmSync(work, { recursive: true, force: true });
  });
  const isle = (args: string[], options?: CallOptions) => call(daemon.host, args, options);
  const ok = async (...args: string[]) => {
    const outcome = await isle(args);
    assert.equal(outcome.code, 0, `isle ${args.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout.trimEnd();
  };

  test('output, errors and the exit code come through', async () => {
    const outcome = await isle(['run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
    assert.deepEqual(outcome, { code: 7, stdout: 'out\n', stderr: 'err\n' });
  });

  test('input is passed on, and its end closes it', async () => {
    const input = 'x'.repeat(200_000);
    const outcome = await isle(['run', '--rm', '-i', 'busybox', 'sh', '-c', 'wc -c; echo after'], { input });
    assert.equal(outcome.stdout, '200000\nafter\n');
    assert.equal(outcome.code, 0);
  });

  test('a file as input is passed on, and one that nobody reads is no error', async () => {
    const here = await isle(['run', '--rm', '-i', 'busybox', 'cat'], { inputFile: '/etc/os-release' });
    assert.deepEqual(here, { code: 0, stdout: readFileSync('/etc/os-release', 'utf8'), stderr: '' });
    for (const inputFile of ['/dev/null', '/dev/zero', process.execPath]) {
      const unread = await isle(['run', '--rm', '-i', 'busybox', 'sh', '-c', 'exit 3'], { inputFile });
      assert.deepEqual(unread, { code: 3, stdout: '', stderr: '' }, inputFile);
    }
  });

  test('large output is neither lost nor out of order', async () => {
    const outcome = await isle(['run', '--rm', 'busybox', 'seq', '1', '200000']);
    const lines = outcome.stdout.trimEnd().split('\n');
    assert.equal(lines.length, 200_000);
    assert.equal(lines.at(-1), '200000');
  });

  test('a reader that goes away ends it quietly', async () => {
    const child = spawnIsle(daemon.host, [
      'run',
      '--rm',
      '--name',
      'unread',
      'busybox',
      'seq',
      '1',
      '1000000',
    ]);
    child.stdout?.once('data', () => child.stdout?.destroy());
    const { code, stderr } = await outcomeOf(child);
    assert.deepEqual([code, stderr], [1, ''], "docker's code");
    // The container itself goes on to its end.
    await isle(['rm', '-f', 'unread']);
    while ((await isle(['ps', '-aq'])).stdout !== '') await sleep(50);
  });

  test('commands that are not there, or cannot be run, give 127 and 126', async () => {
    const missing = await isle(['run', '--rm', 'busybox', 'nosuch']);
    assert.equal(missing.code, 127);
    assert.match(missing.stderr, /^isle: .*"nosuch": executable file not found/);
    const directory = await isle(['run', '--rm', 'busybox', '/etc']);
    assert.equal(directory.code, 126);
    assert.equal((await isle(['ps', '-aq'])).stdout, '');
  });

  test('what the engine refuses is one line and 125', async () => {
    for (const args of [
      ['run', '--rm', '-v', 'relative/../x:/y', 'busybox'],
      ['run', '--rm', '--network', 'nosuch', 'busybox'],
      ['run', '--rm', '--nmae', 'x', 'busybox'],
      ['run', '--pull', 'never', 'not-here-at-all'],
      ['run', '--detach-keys', 'ctrl-', 'busybox'],
      ['run', '--cidfile', '/not/there/cid', 'busybox'],
    ]) {
      const { code, stderr, stdout } = await isle(args);
      assert.equal(code, 125, `${args.join(' ')}: ${stderr}`);
      assert.match(stderr, /^isle: [^\n]+\n( {6}[^\n]+\n)?$/);
      assert.equal(stdout, '');
    }
    assert.equal((await isle(['ps', '-aq'])).stdout, '', 'a refused container is not left behind');
  });

  test('a container from start to removal', async () => {
    const id = await ok(
      'run',
      '-d',
      '--name',
      'life',
      '--label',
      'a=b',
      'busybox',
      'sh',
      '-c',
      'echo begun; exec sleep 100',
    );
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal(
      await ok('ps', '--format', '{{.Names}} {{.State}}', '--filter', 'label=a=b'),
      'life running',
    );
    assert.equal(await ok('ps', '-q', '--no-trunc'), id);
    assert.equal(await ok('inspect', '-f', '{{.State.Status}} {{.Config.Labels.a}}', 'life'), 'running b');
    assert.equal(await ok('logs', 'life'), 'begun');
    assert.match(await ok('top', 'life'), /sleep 100/);
    assert.match(await ok('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', 'life'), /^life 1$/);
    assert.equal(await ok('pause', 'life'), 'life');
    assert.match(await ok('ps'), /\(Paused\)/);
    assert.equal(await ok('unpause', 'life'), 'life');
    await ok('rename', 'life', 'other');
    assert.equal(await ok('stop', '-t', '0', 'other'), 'other');
    assert.equal(await ok('wait', 'other'), '137');
    assert.equal(await ok('start', 'other'), 'other');
    assert.equal(await ok('kill', '-s', 'KILL', 'other'), 'other');
    await ok('wait', 'other');
    assert.match(await ok('ps', '-a', '--filter', 'status=exited'), /Exited \(137\)/);
    assert.equal(await ok('rm', 'other'), 'other');
    assert.equal(await ok('ps', '-aq'), '');
  });

  test('exec: streams, exit code, environment, user and directory', async () => {
    await ok('run', '-d', '--name', 'box', 'busybox', 'sleep', '100');
    assert.deepEqual(await isle(['exec', 'box', 'sh', '-c', 'echo o; echo e >&2; exit 3']), {
      code: 3,
      stdout: 'o\n',
      stderr: 'e\n',
    });
    assert.equal(
      await ok(
        'exec',
        '-e',
        'A=1',
        '-w',
        '/etc',
        '-u',
        '5:6',
        'box',
        'sh',
        '-c',
        'echo $A $PWD $(id -u):$(id -g)',
      ),
      '1 /etc 5:6',
    );
    assert.equal((await isle(['exec', '-i', 'box', 'cat'], { input: 'piped' })).stdout, 'piped');
    assert.equal((await isle(['exec', 'box', 'nosuch'])).code, 127);
    assert.equal(await ok('exec', '-d', 'box', 'touch', '/made'), '');
    await ok('rm', '-f', 'box');
  });

  test('logs: the last lines, with times, and following to the end', async () => {
    await ok(
      'run',
      '-d',
      '--name',
      'talk',
      'busybox',
      'sh',
      '-c',
      'for i in 1 2 3; do echo $i; done; sleep 0.5; echo last',
    );
    const followed = await isle(['logs', '-f', 'talk']);
    assert.equal(followed.stdout, '1\n2\n3\nlast\n');
    assert.equal(await ok('logs', '-n', '2', 'talk'), '3\nlast');
    assert.match(await ok('logs', '-t', '-n', '1', 'talk'), /^\d{4}-\d\d-\d\dT[\d:.]+Z last$/);
    assert.equal(await ok('logs', '--since', '2020-01-01', '--until', '2021-01-01', 'talk'), '');
    await ok('rm', 'talk');
  });

  test('files are copied both ways, by the rules of docker cp', async () => {
    await ok('create', '--name', 'files', 'busybox');
    writeFileSync(join(work, 'one'), 'first');
    const at = { cwd: work };
    const fine = async (...args: string[]) => {
      const outcome = await isle(args, at);
      assert.equal(outcome.code, 0, `isle ${args.join(' ')}: ${outcome.stderr}`);
    };
    await fine('cp', 'one', 'files:/tmp');
    await fine('cp', 'one', 'files:/tmp/renamed & \\1');
    await fine('cp', 'files:/tmp/renamed & \\1', 'back');
    assert.equal(readFileSync(join(work, 'back'), 'utf8'), 'first');
    await fine('cp', 'files:/tmp', 'tree');
    assert.equal(readFileSync(join(work, 'tree/one'), 'utf8'), 'first');
    await fine('cp', 'files:/tmp', 'tree');
    assert.equal(readFileSync(join(work, 'tree/tmp/one'), 'utf8'), 'first');
    await fine('cp', 'tree/.', 'files:/opt');
    await fine('cp', 'tree', 'files:/made');
    await fine('cp', 'files:/opt/.', 'content');
    assert.equal(readFileSync(join(work, 'content/tmp/one'), 'utf8'), 'first');
    await fine('cp', 'files:/made/tmp/one', 'content');
    assert.equal(readFileSync(join(work, 'content/one'), 'utf8'), 'first');
    for (const [args, message] of [
      [['cp', 'files:/nosuch', '.'], /^isle: /],
      [['cp', 'nosuch', 'files:/'], /no such file/],
      [['cp', 'one', 'nosuch:/'], /No such container: nosuch/],
      [['cp', 'tree', 'files:/tmp/one'], /cannot copy a directory/],
      [['cp', 'one', 'files:/not/there/'], /./],
      [['cp', 'files:/tmp', 'one'], /cannot copy directory/],
      [['cp', 'files:/a', 'files:/b'], /between containers/],
    ] as [string[], RegExp][]) {
      const { code, stderr } = await isle(args, at);
      assert.equal(code, 1, `${args.join(' ')}: ${stderr}`);
      assert.match(stderr, message);
    }
    await ok('rm', 'files');
  });

  test('a cidfile is written once', async () => {
    const cidfile = join(work, 'cid');
    const id = await ok('run', '-d', '--cidfile', cidfile, 'busybox', 'true');
    assert.equal(readFileSync(cidfile, 'utf8'), id);
    assert.equal((await isle(['run', '--cidfile', cidfile, 'busybox', 'true'])).code, 125);
    const unused = join(work, 'unused');
    assert.equal((await isle(['run', '--cidfile', unused, '--name', 'bad name', 'busybox'])).code, 125);
    assert.ok(!existsSync(unused));
    await ok('rm', '-f', id);
  });

  test('names that are nearly right are suggested', async () => {
    await ok('create', '--name', 'postgres', 'busybox');
    const { code, stderr } = await isle(['start', 'postgers']);
    assert.equal(code, 1);
    assert.match(stderr, /^isle: No such container: postgers\n {6}did you mean postgres\?\n$/);
    await ok('rm', 'postgres');
  });

  test('several names: those that fail are named, the others done', async () => {
    await ok('create', '--name', 'there', 'busybox');
    const { code, stdout, stderr } = await isle(['rm', 'there', 'gone']);
    assert.equal(code, 1);
    assert.equal(stdout, 'there\n');
    assert.match(stderr, /^isle: No such container: gone\n$/);
  });

  test('a signal to run is passed on to the process', async () => {
    const script = 'trap "echo caught; exit 9" TERM; echo ready; while :; do sleep 0.1; done';
    const child = spawnIsle(daemon.host, ['run', '--rm', 'busybox', 'sh', '-c', script]);
    child.stdout?.once('data', () => child.kill('SIGTERM'));
    const { code, stdout } = await outcomeOf(child);
    assert.equal(stdout, 'ready\ncaught\n');
    assert.equal(code, 9);
  });

  test('Ctrl-C twice within a second leaves it running, and says how to come back', async () => {
    const child = spawnIsle(daemon.host, [
      'run',
      '--name',
      'stubborn',
      'busybox',
      'sh',
      '-c',
      'trap "" INT; echo ready; sleep 100',
    ]);
    child.stdout?.once('data', () => {
      child.kill('SIGINT');
      setTimeout(() => child.kill('SIGINT'), 200);
    });
    const { code, stderr } = await outcomeOf(child);
    assert.equal(code, 130);
    assert.match(stderr, /stubborn runs on. To come back: isle attach stubborn/);
    assert.equal(await ok('inspect', '-f', '{{.State.Running}}', 'stubborn'), 'true');
    await ok('rm', '-f', 'stubborn');
  });

  test('an engine that dies leaves the container running, and the call says so', async () => {
    const child = spawnIsle(daemon.host, [
      'run',
      '--name',
      'orphan',
      'busybox',
      'sh',
      '-c',
      'echo ready; sleep 100',
    ]);
    const outcome = outcomeOf(child);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    await daemon.kill9();
    const { code, stderr } = await outcome;
    assert.equal(code, 125);
    assert.match(stderr, /^isle: the engine went away; orphan runs on without it\n.*isle attach orphan\n$/);
    await daemon.start();
    assert.equal(await ok('inspect', '-f', '{{.State.Running}}', 'orphan'), 'true');
    await ok('rm', '-f', 'orphan');
  });

  test('a daemon that does not run is one line, with what to do', async () => {
    const { code, stderr } = await call('unix:///nonexistent/docker.sock', ['run', 'busybox']);
    assert.equal(code, 125);
    assert.equal(
      stderr,
      'isle: the engine does not run at unix:///nonexistent/docker.sock\n      start it: isle up\n',
    );
    assert.equal(existsSync('/nonexistent'), false);
  });
});
