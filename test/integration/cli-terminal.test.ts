import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isle as call, Terminal } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';

describe('isle on a terminal', () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(() => daemon?.close());
  const ok = async (...args: string[]) => {
    const outcome = await call(daemon.host, args);
    assert.equal(outcome.code, 0, `isle ${args.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout.trimEnd();
  };

  test('a shell: keys go in, the size follows, the exit code comes out, the terminal is set back', async () => {
    await using terminal = new Terminal(daemon.host, ['run', '-it', '--rm', 'busybox', 'sh']);
    await terminal.until(/# /);
    assert.match(terminal.settings(), /-icanon/);
    assert.match(terminal.settings(), /-opost/);
    terminal.resize(33, 101);
    terminal.type('sleep 0.2; stty size\r');
    await terminal.until(/33 101/);
    terminal.type('exit 5\r');
    assert.equal(await terminal.code(), 5);
  });

  test('detach keys leave it running; attach comes back', async () => {
    {
      await using terminal = new Terminal(daemon.host, ['run', '-it', '--name', 'kept', 'busybox', 'sh']);
      await terminal.until(/# /);
      terminal.type('X=remembered\r');
      terminal.type('\x10\x11');
      assert.equal(await terminal.code(), 0);
      assert.match(terminal.shown, /kept runs on. To come back: isle attach kept/);
    }
    {
      await using terminal = new Terminal(daemon.host, ['attach', '--detach-keys', 'ctrl-x,x', 'kept']);
      terminal.type('echo got $X\r');
      await terminal.until(/got remembered/);
      terminal.type('\x18x');
      assert.equal(await terminal.code(), 0);
    }
    await ok('rm', '-f', 'kept');
  });

  test('Ctrl-C goes to the program of a container with a terminal', async () => {
    await using terminal = new Terminal(daemon.host, [
      'run',
      '-it',
      '--rm',
      'busybox',
      'sh',
      '-c',
      'trap "echo caught; exit 4" INT; echo ready; while :; do sleep 0.1; done',
    ]);
    await terminal.until(/ready/);
    terminal.type('\x03');
    assert.equal(await terminal.code(), 4);
    assert.match(terminal.shown, /caught/);
  });

  test('exec with a terminal: size, keys, exit code', async () => {
    await ok('run', '-d', '--name', 'box', 'busybox', 'sleep', '100');
    await using terminal = new Terminal(daemon.host, ['exec', '-it', 'box', 'sh']);
    await terminal.until(/# /);
    terminal.resize(20, 90);
    terminal.type('sleep 0.2; stty size\r');
    await terminal.until(/20 90/);
    terminal.type('exit 6\r');
    assert.equal(await terminal.code(), 6);
    await ok('rm', '-f', 'box');
  });

  test('a call that is killed sets the terminal back', async () => {
    await using terminal = new Terminal(daemon.host, ['run', '-it', '--name', 'hung', 'busybox', 'sh']);
    await terminal.until(/# /);
    terminal.kill('SIGTERM');
    await terminal.code();
    await ok('rm', '-f', 'hung');
  });

  test('stats draws itself anew until Ctrl-C', async () => {
    await ok('run', '-d', '--name', 'busy', 'busybox', 'sleep', '100');
    await using terminal = new Terminal(daemon.host, ['stats']);
    await terminal.until(/busy[^\n]*%[^]*busy[^\n]*%/);
    terminal.type('\x03');
    assert.equal(await terminal.code(), 0);
    assert.ok(terminal.shown.includes('\x1b[?25h'), 'the cursor is shown again');
    await ok('rm', '-f', 'busy');
  });

  test('ps is coloured on a terminal, and plain where colours are not wanted', async () => {
    await ok('run', '-d', '--name', 'green', 'busybox', 'sleep', '100');
    for (const [args, env, coloured] of [
      [['ps'], {}, true],
      [['ps'], { NO_COLOR: '1' }, false],
      [['ps'], { TERM: 'dumb' }, false],
      [['--color', 'never', 'ps'], {}, false],
    ] as [string[], Record<string, string>, boolean][]) {
      await using terminal = new Terminal(daemon.host, args, { env });
      assert.equal(await terminal.code(), 0);
      assert.equal(
        terminal.shown.includes('\x1b[32mUp'),
        coloured,
        `${args.join(' ')} ${JSON.stringify(env)}`,
      );
    }
    await ok('rm', '-f', 'green');
  });

  test('a label cannot write to the terminal; a pipe gets it as it is', async () => {
    const label = 'a\x1b]0;owned\x07b';
    await ok('create', '--name', 'hostile', '--label', `x=${label}`, 'busybox');
    for (const args of [
      ['ps', '-a', '--format', '{{.Labels}}'],
      ['inspect', '-f', '{{.Config.Labels.x}}', 'hostile'],
    ]) {
      await using terminal = new Terminal(daemon.host, args);
      assert.equal(await terminal.code(), 0);
      assert.ok(!terminal.shown.includes('\x1b]0;'), args.join(' '));
      assert.match(terminal.shown, /owned/);
    }
    assert.equal(await ok('inspect', '-f', '{{.Config.Labels.x}}', 'hostile'), label);
    await ok('rm', 'hostile');
  });

  test('a question is asked before pruning; anything but yes is no', async () => {
    await ok('create', '--name', 'old', 'busybox');
    {
      await using terminal = new Terminal(daemon.host, ['container', 'prune']);
      await terminal.until(/\[y\/N\]/);
      terminal.type('\r');
      assert.equal(await terminal.code(), 1);
    }
    assert.equal(await ok('ps', '-a', '--format', '{{.Names}}'), 'old');
    await using terminal = new Terminal(daemon.host, ['container', 'prune']);
    await terminal.until(/\[y\/N\]/);
    terminal.type('y\r');
    assert.equal(await terminal.code(), 0);
    assert.equal(await ok('ps', '-aq'), '');
  });
});
