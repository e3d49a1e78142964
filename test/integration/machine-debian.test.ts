/**
 * A Debian made from packages, through the life that its owner has planned for it: it boots and takes its cloud-init, is
 * snapshotted, broken, reverted and cloned, backed up twice, moved to another QEMU under a running counter, and restored in
 * another engine.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isle } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { debianBootTime, debianMachine } from '../fixtures/debian-machine.ts';

const userData = `#cloud-config
hostname: first
runcmd:
  - [sh, -c, "echo seeded > /root/seeded"]
`;

interface Backup {
  Mode: string;
  /** bytes */
  Size: string;
}

describe('a Debian machine', { concurrency: false }, () => {
  let daemon: TestDaemon;
  let other: TestDaemon;
  let backups: string;
  before(async () => {
    debianMachine();
    [daemon, other] = await Promise.all([startDaemon({ busybox: false }), startDaemon({ busybox: false })]);
    backups = join(daemon.root, 'backups');
  });
  after(async () => {
    await daemon.close();
    await other.close();
  });

  const on = async (engine: TestDaemon, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await isle(engine.socket, args);
    assert.equal(code, 0, `isle ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  const vm = async (...args: string[]): Promise<string> => await on(daemon, 'vm', ...args);
  const sh = async (name: string, line: string, engine = daemon): Promise<string> =>
    await on(engine, 'exec', name, 'sh', '-c', line);
  /** Until its agent answers and cloud-init is through. */
  const up = async (name: string, engine = daemon): Promise<void> => {
    const done = 'test -e /var/lib/cloud/instance/boot-finished';
    for (const until = Date.now() + debianBootTime; ; await sleep(2000)) {
      const { code, stderr } = await isle(engine.socket, ['exec', name, 'sh', '-c', done]);
      if (code === 0) return;
      const { stdout } = await isle(engine.socket, ['logs', '--tail', '20', name]);
      assert.ok(Date.now() < until, `${name} never came up: ${stderr}\n${stdout}`);
    }
  };

  test('boots, and takes what cloud-init tells it', async () => {
    const seed = join(daemon.root, 'user-data');
    writeFileSync(seed, userData);
    await vm(
      ...['create', 'deb', '--image', `${debianMachine()},format=raw`, '--disk', 'size=3', '--memory', '512'],
      ...['--vcpus', '1', '--graphics', 'none', '--cloud-init', `user-data=${seed}`, '-q'],
    );
    await up('deb');
    assert.equal(await sh('deb', 'cat /root/seeded; hostname'), 'seeded\nfirst');
    // growpart and resizefs gave the root what the disk has.
    assert.ok(Number(await sh('deb', 'df --output=size -k / | tail -n 1')) > 2_500_000);
    const shown = JSON.parse(await vm('show', '-f', 'json', 'deb')) as {
      Running: { Guest?: { Hostname: string } };
    };
    assert.equal(shown.Running.Guest?.Hostname, 'first');
    assert.match(await vm('domifaddr', 'deb'), /ipv4 +172\.\d+/i);
  });

  test('is as it was after a snapshot with its memory is reverted to', async () => {
    await sh('deb', 'echo before > /run/memory; echo before > /root/disk; sync');
    await vm('snapshot-create-as', 'deb', 'good');
    await sh('deb', 'echo after > /run/memory; echo after > /root/disk; rm -f /usr/bin/ls; sync');
    assert.equal((await isle(daemon.socket, ['exec', 'deb', 'ls', '/'])).code, 127);
    await vm('snapshot-revert', 'deb', 'good');
    await up('deb');
    assert.equal(await sh('deb', 'cat /run/memory /root/disk; ls -d /root'), 'before\nbefore\n/root');
    const late = Math.abs(Date.now() / 1000 - Number(await sh('deb', 'date +%s')));
    assert.ok(late < 120, `its clock is ${late} s off`);
    assert.match(await vm('snapshot-list', 'deb'), /good/);
  });

  test('has its second backup small', async () => {
    await vm('backup', 'deb', '--to', backups, '--quiesce', '-q');
    await sh(
      'deb',
      'dd if=/dev/urandom of=/root/new bs=1M count=8 2>/dev/null; sha256sum /root/new > /root/sum; sync',
    );
    await vm('backup', 'deb', '--to', backups, '--quiesce', '-q');
    const lines = (await vm('backup-list', '--format', 'json', backups)).split('\n');
    const [full, second] = lines.map((line) => JSON.parse(line) as Backup);
    assert.deepEqual([full?.Mode, second?.Mode], ['full', 'incremental']);
    const bytes = Number(second?.Size);
    assert.ok(bytes >= 8 << 20 && bytes < 64 << 20, `${bytes} of ${full?.Size}`);
    await vm('backup-verify', backups, 'deb');
  });

  test('goes on in another QEMU, and its counter misses no tick', async () => {
    const count = 'n=0; while :; do n=$((n+1)); echo $n >> /run/ticks; sleep 0.1; done';
    await sh('deb', `setsid sh -c '${count}' >/dev/null 2>&1 </dev/null &`);
    await sleep(3000);
    const before = Number(await sh('deb', 'tail -n 1 /run/ticks'));
    await vm('migrate', 'deb', '-q');
    for (let last = before; last < before + 20; await sleep(500))
      last = Number(await sh('deb', 'tail -n 1 /run/ticks'));
    const missed = await sh('deb', "awk '$1 != NR { print }' /run/ticks | head -n 5");
    assert.equal(missed, '');
    assert.match(
      await sh('deb', 'ping -c 1 -W 20 $(ip route show default | cut -d" " -f3)'),
      / 0% packet loss/,
    );
  });

  test('has a twin that stands on its disk and is somebody else', async () => {
    await vm('clone', 'deb', 'twin', '--linked', '--start');
    await up('twin');
    const who =
      'cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub /sys/class/net/e*/address; cat /var/lib/cloud/data/instance-id';
    const [one, two] = [await sh('deb', who), await sh('twin', who)].map((text) => text.split('\n'));
    assert.equal(one?.length, two?.length);
    for (const [index, line] of one!.entries()) assert.notEqual(line, two![index]);
    assert.equal(await sh('twin', 'cat /root/disk'), 'before');
    assert.match((await isle(daemon.socket, ['vm', 'vol-delete', 'deb-vda'])).stderr, /deb/);
    await vm('remove', '-y', '--force', 'twin');
  });

  test('comes back from its backup in another engine', async () => {
    await vm('remove', '-y', '--force', 'deb');
    await on(other, 'vm', 'restore', backups, 'deb', '-q');
    await on(other, 'vm', 'start', 'deb');
    await up('deb', other);
    assert.match(
      await sh('deb', 'cd / && sha256sum -c /root/sum && cat /root/seeded', other),
      /new: OK\nseeded/,
    );
    await on(other, 'vm', 'shutdown', 'deb');
    for (let tries = 0; (await on(other, 'vm', 'domstate', 'deb')) !== 'shut off'; tries++) {
      assert.ok(tries < 600, await on(other, 'logs', '--tail', '20', 'deb'));
      await sleep(500);
    }
    await on(other, 'vm', 'remove', '-y', 'deb');
  });
});
