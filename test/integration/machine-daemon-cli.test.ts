import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle, outcomeOf, spawnIsle, Terminal } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { tinyBootTime, tinyGuest } from '../fixtures/tiny-guest.ts';

/** Milliseconds; of a guest that is emulated on a busy host. */
const patience = tinyBootTime;

describe('isle vm, with a real guest', { concurrency: false }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-vm-daemon-'));
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon({ busybox: false });
  });
  after(async () => {
    await isle(daemon.host, ['vm', 'remove', '-f', '--disks', 'tiny']);
    await daemon.close();
    rmSync(directory, { recursive: true });
  });

  const vm = async (...words: string[]) => await isle(daemon.host, ['vm', ...words]);
  const ok = async (...words: string[]) => {
    const outcome = await vm(...words);
    assert.equal(outcome.code, 0, `${words.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout;
  };

  test('is made, waited for, and sat at', async () => {
    const { kernel, initrd, arguments: line } = tinyGuest();
    const boot = `kernel=${kernel},initrd=${initrd},kernel_args="${line}"`;
    const made = await ok(
      ...[
        'create',
        'tiny',
        '--no-start',
        '--memory',
        '128',
        '--vcpus',
        '1',
        '--virt-type',
        'qemu',
        '--disk',
        'size=64M',
      ],
      ...['--boot', boot, '--graphics', 'vnc', '--ssh-key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me'],
    );
    assert.equal(made, 'tiny\n');
    assert.equal(await ok('start', '--wait', '--wait-timeout', '120', 'tiny'), 'tiny\n');
    assert.match(await ok('show', 'tiny'), /Runs on: .*emulation/);
    await using terminal = new Terminal(daemon.host, ['vm', 'console', 'tiny']);
    await terminal.until(/login:/, patience);
    terminal.type('\r');
    terminal.type('echo con""sole\r');
    await terminal.until(/console/, patience);
    terminal.type('cat /sys/block/vda/size\r');
    await terminal.until(/131072\r\n/, patience);
    terminal.type('\x1d');
    assert.equal(await terminal.code(patience), 0);
  });

  test('its screen is seen, by who has a ticket, and by nobody twice', async () => {
    const picture = join(directory, 'tiny.png');
    await ok('screenshot', 'tiny', picture);
    assert.equal(readFileSync(picture).toString('latin1', 1, 4), 'PNG');
    const path = join(directory, 'vnc.sock');
    const shown = spawnIsle(daemon.host, ['vm', 'display', '--socket', path, 'tiny']);
    const outcome = outcomeOf(shown);
    await once(shown.stdout!, 'data');
    const viewer = connect(path);
    const [greeting] = (await once(viewer, 'data')) as [Buffer];
    assert.equal(greeting.toString(), 'RFB 003.008\n');
    // Version, security types: none but "none", as the way to the socket is the lock.
    viewer.write('RFB 003.008\n');
    const [types] = (await once(viewer, 'data')) as [Buffer];
    assert.deepEqual([...types], [1, 1]);
    viewer.destroy();
    await ok('destroy', 'tiny');
    assert.equal((await outcome).code, 0);
  });

  test('a boot that does not come up is shown', async () => {
    const { kernel, initrd } = tinyGuest();
    await ok(
      'edit',
      '--boot',
      `kernel=${kernel},initrd=${initrd},kernel_args="console=ttyS0 rdinit=/nowhere panic=0"`,
      'tiny',
    );
    const failed = await vm(
      'start',
      '--wait-timeout',
      '12',
      '--screenshot',
      join(directory, 'boot.png'),
      'tiny',
    );
    assert.equal(failed.code, 1, failed.stdout);
    assert.match(
      failed.stderr,
      /last lines of its console:\n[^]*shows no login prompt.* after 12 s\n +its screen is in .*boot.png/,
    );
    await ok('remove', '-f', '--disks', 'tiny');
  });
});
