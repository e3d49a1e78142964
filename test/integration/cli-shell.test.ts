import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle, Terminal } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';

describe('isle shell', { concurrency: false }, () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon();
    const body = { Image: 'busybox', Cmd: ['sleep', '1000'] };
    await daemon.ok('POST', '/containers/create?name=box', body);
    await daemon.ok('POST', '/containers/box/start');
  });
  after(async () => await daemon.close());

  const run = (args: string[], input: string) => isle(daemon.host, ['shell', ...args], { input });

  test("is root's login shell, in root's home", async () => {
    const { stdout, code } = await run(['box'], 'echo "$USER $HOME $SHELL $PWD $0"; exit 7\n');
    assert.equal(stdout, 'root /root /bin/sh /root /bin/sh\n');
    assert.equal(code, 7);
  });

  test("is another user's with --user, whatever shell that has", async () => {
    const named = await run(['--user', 'isle', 'box'], 'id -un; pwd\n');
    assert.equal(named.stdout, 'isle\n/home/isle\n');
    await isle(daemon.host, [
      'exec',
      'box',
      'sh',
      '-c',
      'echo off:x:7:7::/nowhere:/sbin/nologin >>/etc/passwd',
    ]);
    const off = await run(['-u', 'off', 'box'], 'echo "$SHELL $PWD"\n');
    assert.equal(off.stdout, '/bin/sh /\n');
    const unknown = await run(['-u', '4321', 'box'], 'echo "$USER $HOME"\n');
    assert.equal(unknown.stdout, '4321 /\n');
  });

  test('has a terminal of the right kind and size where there is one', async () => {
    await using terminal = new Terminal(daemon.host, ['shell', 'box'], { env: { TERM: 'vt220' } });
    await terminal.until(/# /);
    terminal.type('echo "[$TERM]"; test -t 0 && echo terminal; exit 5\r');
    await terminal.until(/\[vt220\][^]*\r\nterminal\r\n/);
    assert.equal(await terminal.code(), 5);
  });

  test('runs a script from a file, however much of it the shell reads', async () => {
    const script = join(mkdtempSync(join(tmpdir(), 'isle-cli-shell-')), 'setup.sh');
    try {
      writeFileSync(script, `echo "$HOME"; exit 3\n${'# never read\n'.repeat(50_000)}`);
      const outcome = await isle(daemon.host, ['shell', 'box'], { inputFile: script });
      assert.deepEqual(outcome, { code: 3, stdout: '/root\n', stderr: '' });
    } finally {
      rmSync(dirname(script), { recursive: true });
    }
  });

  test('a container without a shell is told so', async () => {
    await isle(daemon.host, ['exec', 'box', 'mv', '/bin/sh', '/bin/sh.away']);
    const { code, stdout, stderr } = await run(['box'], '');
    assert.equal(code, 127);
    assert.match(stdout + stderr, /"\/bin\/sh": executable file not found/);
  });
});
