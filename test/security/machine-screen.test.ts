import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { isle } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { tinyGuest } from '../fixtures/tiny-guest.ts';

describe('who may see the screen of a machine', { concurrency: false }, () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon({ busybox: false });
    const { kernel, initrd } = tinyGuest();
    const words = [
      'vm',
      'create',
      'tiny',
      '--memory',
      '128',
      '--vcpus',
      '1',
      '--virt-type',
      'qemu',
      '--graphics',
      'vnc',
    ];
    const made = await isle(daemon.host, [...words, '--boot', `kernel=${kernel},initrd=${initrd}`]);
    assert.equal(made.code, 0, made.stderr);
  });
  after(async () => {
    await isle(daemon.host, ['vm', 'remove', '-f', '--disks', 'tiny']);
    await daemon.close();
  });

  const pid = async () =>
    (await daemon.ok('GET', '/containers/tiny/json')).json<{ State: { Pid: number } }>().State.Pid;

  test('its monitor listens on no port and at no abstract name', async () => {
    const supervisor = await pid();
    for (const table of ['tcp', 'tcp6']) {
      // 0A is LISTEN.
      const listening =
        readFileSync(`/proc/${supervisor}/net/${table}`, 'utf8').match(/^.*: \S+ \S+ 0A .*$/gm) ?? [];
      // Isle's own resolver for the machine answers DNS by TCP, too.
      const foreign = listening.filter((line) => !/:0035 /.test(line));
      assert.deepEqual(foreign, [], table);
    }
    assert.doesNotMatch(readFileSync(`/proc/${supervisor}/net/unix`, 'utf8'), / @/);
  });

  test('nobody else on the host gets to its VNC server', () => {
    const found = execFileSync('find', [daemon.runRoot, '-name', 'vnc', '-type', 's'])
      .toString()
      .trim()
      .split('\n');
    assert.equal(found.length, 1, found.join());
    const script =
      'import socket,sys\ns=socket.socket(socket.AF_UNIX)\nimport os\nos.chdir(os.path.dirname(sys.argv[1]))\ns.connect("vnc")\nprint("in")';
    const { stdout, stderr } = spawnSync('/usr/bin/python3', ['-c', script, found[0]!], {
      uid: 65534,
      gid: 65534,
      encoding: 'utf8',
    });
    assert.equal(stdout, '');
    assert.match(stderr, /PermissionError/);
  });

  test('a ticket is needed, and a wrong one of any kind lets nobody in', async () => {
    for (const body of [
      {},
      { Ticket: '' },
      { Ticket: 'x' },
      { Ticket: 'x'.repeat(100_000) },
      { Ticket: 7 },
      { Ticket: '../tiny' },
    ]) {
      const { status } = await daemon.call('POST', '/isle/v1/display', body);
      assert.ok(status === 400 || status === 403, `${JSON.stringify(body).slice(0, 40)}: ${status}`);
    }
  });
});
