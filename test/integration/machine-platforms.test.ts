/** The hardware that `isle vm` gives a guest, seen from inside: UEFI, a TPM, what is plugged while it runs, other processors. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isle } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { MachineConsole } from '../fixtures/machine-console.ts';
import { tinyBootTime, tinyGuest, tinyImage, tinyPrompt, tinySignedImage } from '../fixtures/tiny-guest.ts';

describe('machines of all kinds', { concurrency: false }, () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon({ busybox: false });
  });
  after(async () => await daemon.close());

  const ok = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await isle(daemon.socket, args);
    assert.equal(code, 0, `isle ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  const consoleOf = async (name: string): Promise<MachineConsole> => {
    const console = new MachineConsole(daemon.socket, name);
    await console.see(tinyPrompt, 2 * tinyBootTime);
    // It says so at any time, in the midst of others' words.
    await console.see(/dhcp e\w+ 172\./);
    return console;
  };
  const plain = ['--graphics', 'none', '--no-start', '-q'];

  test('by UEFI, with a TPM; processors, memory, a disk and a card come while it runs', async () => {
    await ok(
      ...[
        'vm',
        'create',
        'modern',
        '--image',
        `${tinyImage()},format=raw`,
        '--boot',
        'uefi',
        '--tpm',
        'default',
      ],
      ...['--memory', '256,maxmemory=1024', '--vcpus', '1,maxvcpus=2', ...plain],
    );
    await ok('vm', 'start', 'modern');
    using console = await consoleOf('modern');
    const count = async (command: string, wanted: string): Promise<void> => {
      let seen = '';
      for (let tries = 0; tries < 60; tries++, await sleep(500)) {
        seen = await console.run(command);
        if (seen === wanted) return;
      }
      assert.equal(seen, wanted, command);
    };
    assert.equal(await console.run('ls -d /sys/firmware/efi'), '/sys/firmware/efi');
    assert.equal(await console.run('cat /sys/class/tpm/tpm0/tpm_version_major'), '2');
    // What udev does in a grown-up guest.
    await console.run(
      'echo online > /sys/devices/system/memory/auto_online_blocks; (while sleep 1; do coldplug; done) >/dev/null 2>&1 & true',
    );
    await ok('vm', 'setvcpus', 'modern', '2');
    await count('ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l', '2');
    const memory = async () =>
      Number(await console.run('ls -d /sys/devices/system/memory/memory[0-9]* | wc -l'));
    const blocks = await memory();
    await ok('vm', 'setmem', 'modern', '768M');
    for (let tries = 0; (await memory()) <= blocks; tries++, await sleep(500))
      assert.ok(tries < 60, `${blocks} blocks of memory, still`);
    await ok('vm', 'attach-disk', 'modern', 'size=1', 'vdb');
    await count('cat /sys/block/vdb/size || true', String(2 ** 21));
    await ok('network', 'create', 'second');
    await ok('vm', 'attach-interface', 'modern', 'second');
    await count('ls -d /sys/class/net/e* | wc -l', '2');
    await ok('vm', 'destroy', 'modern');
    await ok('vm', 'remove', '-y', 'modern');
    await ok('network', 'rm', 'second');
  });

  test('with secure boot: a signed chain boots, and another one does not', async () => {
    const secure = ['--boot', 'uefi-secure', '--memory', '512', '--vcpus', '1', ...plain];
    await ok('vm', 'create', 'signed', '--image', `${tinySignedImage()},format=raw`, ...secure);
    await ok('vm', 'start', 'signed');
    {
      using console = await consoleOf('signed');
      assert.match(await console.run('dmesg'), /secureboot: Secure boot enabled/);
    }
    await ok('vm', 'remove', '-y', '--force', 'signed');
    await ok('vm', 'create', 'unsigned', '--image', `${tinyImage()},format=raw`, ...secure);
    await ok('vm', 'start', 'unsigned');
    using console = new MachineConsole(daemon.socket, 'unsigned');
    await console.see(/failed to load Boot\d+ .*: Access Denied/);
    await ok('vm', 'remove', '-y', '--force', 'unsigned');
  });

  test('with processors of another kind', async () => {
    const { kernel, initrd, arguments: line } = tinyGuest('aarch64');
    await ok(
      ...['vm', 'create', 'arm', '--arch', 'aarch64', '--memory', '256', '--vcpus', '1', ...plain],
      ...['--boot', `kernel=${kernel},initrd=${initrd},kernel_args=${line}`],
    );
    await ok('vm', 'start', 'arm');
    using console = await consoleOf('arm');
    assert.equal(await console.run('uname -m'), 'aarch64');
    await ok('vm', 'remove', '-y', '--force', 'arm');
  });
});
