import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemWorld, type SystemWorld } from '../fixtures/system-containers.ts';

/** Makes and runs a container, with every namespace of its own (also a user namespace), from busybox. */
const inner = `
set -e
mkdir -p /var/lib/inner/rootfs/bin
cd /var/lib/inner
cp /opt/busybox rootfs/bin/busybox
for name in sh id mount hostname grep; do ln -sf busybox rootfs/bin/$name; done
[ -e config.json ] || crun spec --rootless
sed -i 's/"terminal": true/"terminal": false/; s/"sh"$/"sh", "-c", "echo inner: $(id -u); grep -c ^ \\/proc\\/1\\/status"/' config.json
crun run inner
`;

describe('containers in a system container', { concurrency: false }, () => {
  let world: SystemWorld;
  before(async () => {
    world = await systemWorld(['systemd']);
  });
  after(async () => await world.close());

  const start = async (name: string, ...flags: string[]) => {
    await world.docker.ok(
      ...['run', '-d', '--name', name, '--runtime', 'system', '-v', '/bin/busybox:/opt/busybox:ro'],
      ...flags,
      'systemd',
    );
    await world.until(
      'systemd has finished booting',
      async () => (await world.inside(name, 'systemctl', 'is-system-running')) === 'running',
    );
  };

  test('run when nesting is asked for, still in its user namespace', async () => {
    await start('outer', '--security-opt', 'nesting=true');
    const { code, stdout, stderr } = await world.docker.run(['exec', 'outer', 'sh', '-c', inner]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^inner: 0$/m);
    const [, outside] = (await world.inside('outer', 'cat', '/proc/self/uid_map')).trim().split(/\s+/);
    assert.ok(Number(outside) >= 65536, `root is ${outside} outside`);
    assert.equal(
      await world.inside('outer', 'sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward && echo set'),
      'set',
    );
  });

  test('are refused by the kernel when it is not', async () => {
    await start('plain');
    const { code, stdout } = await world.docker.run(['exec', 'plain', 'sh', '-c', inner]);
    assert.notEqual(code, 0);
    assert.doesNotMatch(stdout, /inner/);
  });

  test('change nothing that is the host’s', async () => {
    for (const attempt of [
      'echo 1 >/proc/sys/kernel/sysrq',
      'echo b >/proc/sysrq-trigger',
      'echo 1 >/proc/sys/vm/drop_caches',
      'echo /tmp/x >/dev/.lxc/proc/sys/kernel/core_pattern',
      'echo c >/dev/.lxc/proc/sysrq-trigger',
      'echo 0 >/dev/.lxc/sys/kernel/mm/ksm/run',
      'mknod /tmp/disk b 253 0',
      'mount -t cgroup -o memory cgroup /mnt && echo 999999999999 >/mnt/memory.limit_in_bytes',
      'mount -t cgroup -o memory cgroup /mnt && mkdir /mnt/new',
      'cat /dev/.lxc/proc/kcore',
    ]) {
      const { code } = await world.docker.run(['exec', 'outer', 'sh', '-c', attempt]);
      assert.notEqual(code, 0, attempt);
    }
  });

  test('need the user namespace', async () => {
    const { code, stderr } = await world.docker.run([
      'run',
      '--runtime',
      'system',
      '--userns',
      'host',
      '--security-opt',
      'nesting=true',
      'systemd',
    ]);
    assert.equal(code, 125);
    assert.match(stderr, /nesting=true needs a user namespace/);
  });
});
