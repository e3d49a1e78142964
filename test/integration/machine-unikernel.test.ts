/** A kernel that is the program: booted straight, by both of its protocols, emulated and by KVM where there is one. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isle, type Outcome } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { buildUnikernel } from '../fixtures/unikernel.ts';

describe('unikernels', {
  concurrency: false,
  skip: process.arch !== 'x64' && 'the test kernel is for x86-64',
}, () => {
  let daemon: TestDaemon;
  let pvh: string;
  let multiboot: string;
  before(async () => {
    daemon = await startDaemon();
    pvh = buildUnikernel(daemon.root);
    multiboot = buildUnikernel(daemon.root, 'multiboot');
  });
  after(async () => await daemon.close());

  const run = async (flags: string[], kernel: string, ...words: string[]): Promise<Outcome> =>
    await isle(daemon.socket, ['run', ...flags, '--runtime', 'unikernel', '--kernel', kernel, ...words]);
  const ok = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await isle(daemon.socket, args);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };

  test('it boots, its console is its output, its code is the exit code', async () => {
    const { code, stdout } = await run(['--rm'], pvh, 'at', '{ip}/{prefix}', 'of', '{gateway}', 'exit=3');
    assert.match(stdout, /hello from a unikernel, by pvh/);
    assert.match(stdout, /arguments: at 172\.\d+\.\d+\.\d+\/\d+ of 172\.\d+\.\d+\.\d+ exit=3/);
    assert.equal(code, 3);
  });

  test('one with a Multiboot header gets a machine with a BIOS', async () => {
    const { code, stdout } = await run(['--rm', '--network', 'none'], multiboot, 'exit=4');
    assert.match(stdout, /by multiboot\r?\narguments: .*exit=4/);
    assert.equal(code, 4);
  });

  test('by KVM, where there is any, even where that runs no Linux', async () => {
    const { code, stdout, stderr } = await run(['--rm', '--accel', 'kvm'], pvh, 'exit=5');
    if (existsSync('/dev/kvm')) assert.deepEqual([code, /by pvh/.test(stdout)], [5, true], stderr);
    else assert.match(stderr, /KVM was asked for, but there is no \/dev\/kvm/);
  });

  test('it answers on its network, has its limits, is listed, and goes when it is told to', async () => {
    const flags = ['-d', '--name', 'answering', '-m', '32m', '--cpus', '0.5'];
    assert.equal((await run(flags, pvh, 'ip={ip}')).code, 0);
    for (let tries = 0; !(await ok('logs', 'answering')).includes('network: answering'); tries++) {
      assert.ok(tries < 600, await ok('logs', 'answering'));
      await sleep(100);
    }
    const address = await ok(
      ...['inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', 'answering'],
    );
    assert.match(
      await ok('run', '--rm', 'busybox', 'ping', '-c', '2', '-W', '20', address),
      /0% packet loss/,
    );
    assert.match(await ok('ps', '--filter', 'name=answering'), /unikernel +microvm, 1 CPU, 32 /);
    const { Memory, Vcpus } = JSON.parse(await ok('vm', 'show', '-f', 'json', 'answering')).Hardware;
    assert.deepEqual([Memory, Vcpus], [32 << 20, 1]);
    assert.equal(await ok('stop', 'answering'), 'answering');
    assert.equal(await ok('inspect', '-f', '{{.State.ExitCode}}', 'answering'), '137');
    await ok('rm', 'answering');
  });

  test('what is no kernel is refused, and leaves nothing', async () => {
    const text = join(daemon.root, 'text');
    writeFileSync(text, 'hello');
    const wrong: [Outcome, RegExp][] = [
      [await run([], text), /cannot boot the kernel .*neither ELF, nor Multiboot, nor Linux/],
      [await run([], join(daemon.root, 'none')), /there is no such file/],
      [await run([], '/bin/busybox'), /without a PVH entry or a Multiboot header/],
      [await run(['-v', '/a:/b'], pvh), /cannot take mounts/],
      [await isle(daemon.socket, ['run', '--runtime', 'unikernel', 'nginx']), /not from an image/],
      [await isle(daemon.socket, ['run', '--kernel', pvh, 'nginx']), /--kernel is for unikernels/],
      [await isle(daemon.socket, ['run']), /needs the name of an image/],
    ];
    for (const [{ code, stderr }, message] of wrong) {
      assert.equal(code, 125, stderr);
      assert.match(stderr, message);
    }
    assert.equal(await ok('ps', '-aq'), '');
  });
});
