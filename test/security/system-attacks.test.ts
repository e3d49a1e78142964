import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { systemWorld, type SystemWorld } from '../fixtures/system-containers.ts';

/** What the root of a system container, who may mount and make control groups, could try. */
describe('the root of a hostile system container', { concurrency: false }, () => {
  let world: SystemWorld;
  before(async () => {
    world = await systemWorld([]);
  });
  after(async () => await world.close());

  /** Boots busybox's init, whose root then has every capability that a distribution's has. */
  const start = (name: string, ...flags: string[]) =>
    world.docker.ok(
      ...['run', '-d', '--name', name, '--runtime', 'system', '--memory', '64m', ...flags],
      ...['busybox', '/bin/init'],
    );
  const attempt = async (name: string, script: string) =>
    (await world.docker.run(['exec', name, 'sh', '-c', script])).code;

  test('does not reach its own limits, or anybody else’s control group', async () => {
    await start('limits');
    for (const script of [
      'echo max >/sys/fs/cgroup/cgroup.max.depth',
      'echo max >/sys/fs/cgroup/memory.max',
      'mkdir /sys/fs/cgroup/../../outside',
      'mkdir /mnt; mount -t cgroup -o memory cgroup /mnt && echo -1 >/mnt/memory.limit_in_bytes',
      'mkdir -p /mnt; mount -t cgroup -o pids cgroup /mnt && mkdir /mnt/mine',
      'mkdir -p /mnt; mount -t cgroup2 none /mnt && echo max >/mnt/cgroup.max.depth',
    ])
      assert.notEqual(await attempt('limits', script), 0, script);
  });

  test('makes no tree of groups that cannot be removed', async () => {
    await start('deep');
    const name = 'n'.repeat(250);
    await attempt('deep', `cd /sys/fs/cgroup; while mkdir ${name} && cd ${name}; do :; done`);
    await attempt('deep', 'cd /sys/fs/cgroup; i=0; while mkdir wide$i; do i=$((i+1)); done');
    const made = Number(await world.inside('deep', 'sh', '-c', 'find /sys/fs/cgroup -type d | wc -l'));
    assert.ok(made > 100 && made <= 4097, `${made} groups`);
    await world.docker.ok('rm', '-f', 'deep');
  });

  test('changes nothing of the kernel’s, however it mounts /proc and /sys', async () => {
    await start('kernel');
    const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
    for (const script of [
      'mount -o remount,rw /proc/sys; echo x >/proc/sys/kernel/core_pattern',
      'umount /proc/sysrq-trigger; mount -o remount,rw /proc/sys; echo h >/proc/sysrq-trigger',
      'mkdir -p /mnt; mount -t proc proc /mnt; echo x >/mnt/sys/kernel/core_pattern',
      'mkdir -p /mnt; mount -t sysfs sys /mnt; echo 0 >/mnt/kernel/mm/transparent_hugepage/khugepaged/defrag',
      'mkdir -p /mnt; mount -t debugfs d /mnt',
      'mkdir -p /mnt; mount -t securityfs d /mnt',
      'mknod /tmp/mem c 1 1 && cat /tmp/mem',
      'date -s 2000-01-01; [ $(date +%Y) = 2000 ]',
      'dmesg -c',
      'insmod /lib/none.ko',
      'mkdir -p /mnt; mount -t ext4 /dev/vda /mnt',
      'nsenter -t 1 -m -- true && cat /proc/1/root/etc/isle-none',
    ])
      assert.notEqual(await attempt('kernel', script), 0, script);
    assert.equal(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'), before);
  });

  test('cannot make a device, /dev/null or another host’s file its own', async () => {
    await start('owner');
    const before = statSync('/dev/null');
    await attempt('owner', 'chown 5:5 /dev/null; chmod 000 /dev/null; chmod 000 /proc/self/fd/0');
    const now = statSync('/dev/null');
    assert.deepEqual([now.uid, now.gid, now.mode], [before.uid, before.gid, before.mode]);
  });

  test('gets nothing out of lxcfs but its own numbers', async () => {
    await start('numbers');
    assert.notEqual(await attempt('numbers', 'echo 1 >/proc/meminfo'), 0);
    assert.notEqual(await attempt('numbers', 'ls /proc/meminfo/..//../cgroup'), 0);
    assert.match(await world.inside('numbers', 'cat', '/proc/meminfo'), /^MemTotal:\s+65536 kB/);
  });

  test('an init that ignores everything, or a link where the engine looks, holds up nothing', async () => {
    await world.docker.ok(
      ...['run', '-d', '--name', 'deaf', '--runtime', 'system', '--stop-timeout', '1', 'busybox'],
      ...[
        'sh',
        '-c',
        'trap "" TERM PWR INT HUP; ln -sf /proc/self/exe /sbin/init; while :; do sleep 1; done',
      ],
    );
    await world.docker.ok('stop', 'deaf');
    assert.equal(await world.docker.ok('inspect', '--format', '{{.State.ExitCode}}', 'deaf'), '137');
    await world.docker.ok(
      'run',
      '--name',
      'fifo',
      'busybox',
      'sh',
      '-c',
      'mkdir -p /sbin /etc; mkfifo /sbin/init /etc/inittab',
    );
    await world.docker.ok('commit', 'fifo', 'fifo');
    const { code, stderr } = await world.docker.run([
      'run',
      '--rm',
      '--runtime',
      'system',
      'fifo',
      '/sbin/init',
    ]);
    assert.equal(code, 125);
    assert.match(stderr, /no init at \/sbin\/init/);
    assert.ok(existsSync(world.daemon.socket));
  });
});
