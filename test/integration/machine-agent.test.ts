import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import type { ExecSpec } from '../../src/engine/runtime.ts';
import { execInGuest } from '../../src/runtimes/machine/agent/exec.ts';
import { guestFiles } from '../../src/runtimes/machine/agent/guest-files.ts';
import { guestInfo } from '../../src/runtimes/machine/agent/guest-info.ts';
import { startGuestAgent, type GuestAgentProcess } from '../fixtures/guest-agent-process.ts';

describe('a guest’s agent', () => {
  let agent: GuestAgentProcess;
  const machine = { id: 'vm', agentSocket: async () => agent.socket };
  before(async () => {
    agent = await startGuestAgent();
  });
  after(async () => {
    await agent?.[Symbol.asyncDispose]();
  });

  const spec = (args: string[], more: Partial<ExecSpec> = {}): ExecSpec => ({
    ...{ id: 'x', args, env: [], cwd: '', user: '', tty: false, stdin: false, privileged: false },
    ...more,
  });
  const run = async (args: string[], more: Partial<ExecSpec> = {}, input?: string) => {
    const { streams, exit } = await execInGuest(machine, spec(args, more));
    streams.stdin?.end(input ?? '');
    const [stdout, stderr, { code }] = await Promise.all([text(streams.stdout), text(streams.stderr), exit]);
    return { stdout, stderr, code };
  };
  const sh = (line: string, more?: Partial<ExecSpec>, input?: string) =>
    run(['/bin/sh', '-c', line], more, input);

  test('runs commands: output, errors, exit codes, signals', async () => {
    assert.deepEqual(await sh('echo out; echo err >&2; exit 3'), {
      stdout: 'out\n',
      stderr: 'err\n',
      code: 3,
    });
    assert.equal((await sh('kill -TERM $$')).code, 143);
    assert.equal((await sh('sleep 1; echo late')).stdout, 'late\n');
    await assert.rejects(run(['/no/such/thing']), { code: 'commandNotFound' });
    const some = await Promise.all(
      Array.from({ length: 6 }, (_, index) => sh(`sleep 0.${index}; echo ${index}`)),
    );
    assert.deepEqual(
      some.map(({ stdout }) => stdout),
      ['0\n', '1\n', '2\n', '3\n', '4\n', '5\n'],
    );
  });

  test('gives them their environment, directory, user and input, whatever is in them', async () => {
    const odd = `a 'b' "c" $d \`e\` \\ \n-`;
    const env = [`ODD=${odd}`];
    assert.equal((await sh('printf %s "$ODD"; command -v sh >&2', { env })).stdout, odd);
    mkdirSync(join(agent.root, `tmp/${odd.replaceAll('/', '')}`));
    assert.equal((await sh('pwd', { cwd: `/tmp/${odd}` })).stdout, `/tmp/${odd}\n`);
    assert.deepEqual(await run(['printf', '%s|', '-x', odd], { user: 'one' }), {
      stdout: `-x|${odd}|`,
      stderr: '',
      code: 0,
    });
    assert.equal((await run(['id', '-u'], { user: 'one' })).stdout, '1000\n');
    await assert.rejects(run(['id'], { user: 'one;reboot' }), { code: 'invalidParameter' });
    const input = 'x'.repeat(700_000);
    assert.equal((await sh('wc -c', { stdin: true }, input)).stdout.trim(), '700000');
    const much = await sh('cat', { stdin: true }, 'x'.repeat(2_000_000)).catch((error: unknown) => error);
    assert.match(JSON.stringify(much) + String(much), /at most 1 MiB of input/);
  });

  test('has no terminals, and says what to do instead', async () => {
    await assert.rejects(run(['sh'], { tty: true }), /isle vm console/);
  });

  test('copies files in and out, with their owners and modes', async () => {
    const files = guestFiles(machine);
    const from = mkdtempSync(join(tmpdir(), 'isle-copy-'));
    const big = Buffer.alloc(5_000_000, 'abcdefg');
    mkdirSync(join(from, 'd/e'), { recursive: true });
    writeFileSync(join(from, 'd/big'), big);
    writeFileSync(join(from, 'd/e/-odd name'), 'odd', { mode: 0o600 });
    execFileSync('ln', ['-s', 'big', join(from, 'd/link')]);
    execFileSync('chown', ['1000:1000', join(from, 'd/e')]);
    const archive = execFileSync('tar', ['-c', '-C', from, 'd'], { maxBuffer: 2 ** 26 });
    await files.write('/tmp', Readable.from([archive]), { copyUidGid: true });
    assert.ok(readFileSync(join(agent.root, 'tmp/d/big')).equals(big));
    assert.equal(
      (await sh('stat -c %u:%g:%a /tmp/d/e "/tmp/d/e/-odd name"')).stdout,
      '1000:1000:755\n0:0:600\n',
    );
    const { stat, tar } = await files.read('/tmp/d/');
    assert.deepEqual([stat.name, stat.mode], ['d', 2 ** 31 + 0o755]);
    const back = mkdtempSync(join(tmpdir(), 'isle-copy-'));
    execFileSync('tar', ['-x', '-C', back], { input: await buffer(tar) });
    execFileSync('diff', ['-r', from, back]);
    assert.equal((await files.stat('/tmp/d/link')).linkTarget, 'big');
    assert.deepEqual(await files.stat('/').then(({ name, mode }) => [name, mode >= 2 ** 31]), ['/', true]);
    await assert.rejects(files.read('/tmp/none'), { code: 'noSuchPath' });
    await assert.rejects(files.write('/tmp/d/big', Readable.from([archive]), { copyUidGid: false }), {
      code: 'invalidParameter',
    });
    assert.equal((await sh('ls /var/tmp')).stdout, '', 'nothing is left of it');
    for (const directory of [from, back]) rmSync(directory, { recursive: true });
  });

  test('tells of its guest', async () => {
    const info = await guestInfo(machine);
    assert.ok(info?.hostname, JSON.stringify(info));
  });
});
