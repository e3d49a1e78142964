import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemWorld, type SystemWorld } from '../fixtures/system-containers.ts';

const service = `[Service]
ExecStart=/bin/sh -c 'echo served; exec sleep infinity'
ExecStop=/bin/sh -c 'echo stopped in order >>/var/lib/stops'
[Install]
WantedBy=multi-user.target
`;

describe('a system container with systemd', { concurrency: false }, () => {
  let world: SystemWorld;
  before(async () => {
    world = await systemWorld(['systemd'], {
      'etc/systemd/system/served.service': service,
      'etc/systemd/system/multi-user.target.wants/served.service': {
        type: 'symlink',
        target: '/etc/systemd/system/served.service',
      },
    });
    await world.docker.ok('run', '-d', '--name', 'box', '--runtime', 'system', 'systemd');
    await booted();
  });
  after(async () => await world.close());

  const booted = () =>
    world.until(
      'systemd has finished booting',
      async () => (await world.inside('box', 'systemctl', 'is-system-running')) === 'running',
    );

  test('reaches its target with every unit well, although nobody named a command', async () => {
    assert.equal(await world.inside('box', 'cat', '/proc/1/comm'), 'systemd');
    assert.equal(await world.inside('box', 'systemctl', 'is-active', 'graphical.target'), 'active');
    assert.equal(await world.inside('box', 'systemctl', '--failed', '--plain', '--no-legend'), '');
    assert.equal(await world.inside('box', 'systemd-detect-virt', '--container'), 'container-other');
  });

  test('runs its services, and keeps a journal of them', async () => {
    assert.equal(await world.inside('box', 'systemctl', 'is-active', 'served'), 'active');
    assert.match(await world.inside('box', 'journalctl', '-u', 'served', '-o', 'cat'), /^served$/m);
  });

  test('its console is a terminal whose output is the log', async () => {
    await world.until('somebody may log in', async () =>
      /login: /.test((await world.docker.run(['logs', 'box'])).stdout),
    );
    const log = await world.docker.ok('logs', 'box');
    assert.match(log, /Welcome to Debian GNU\/Linux 12/);
    assert.doesNotMatch(log, /\x1b\[0;32m/); // oxlint-disable-line no-control-regex
  });

  test('makes control groups of its own, and sees none but its own', async () => {
    assert.match(await world.inside('box', 'cat', '/proc/1/cgroup'), /^0::\/init\.scope$/m);
    const mounts = await world.inside('box', 'grep', 'cgroup', '/proc/mounts');
    assert.match(mounts, /^cgroup2 \/sys\/fs\/cgroup cgroup2 rw,\S+ 0 0$/);
    assert.equal(
      await world.inside('box', 'sh', '-c', 'ls /sys/fs/cgroup | grep slice'),
      'system.slice\nuser.slice',
    );
  });

  test('a reboot from inside starts it again where it was', async () => {
    await world.inside('box', 'sh', '-c', 'echo kept >/root/kept');
    const first = await world.docker.ok('inspect', '--format', '{{.State.StartedAt}}', 'box');
    await world.docker.run(['exec', 'box', 'systemctl', 'reboot']);
    await world.until(
      'it has started anew',
      async () => (await world.docker.ok('inspect', '--format', '{{.State.StartedAt}}', 'box')) !== first,
    );
    await booted();
    assert.equal(await world.inside('box', 'cat', '/root/kept'), 'kept');
    assert.equal(await world.inside('box', 'cat', '/var/lib/stops'), 'stopped in order');
  });

  test('stops in order, well within its time, and starts again', async () => {
    await world.inside('box', 'rm', '-f', '/var/lib/stops');
    await world.docker.ok('stop', 'box');
    assert.equal(
      await world.docker.ok('inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}', 'box'),
      'exited 0',
    );
    await world.docker.ok('start', 'box');
    await booted();
    assert.equal(await world.inside('box', 'cat', '/var/lib/stops'), 'stopped in order');
  });

  test('switched off from inside it is off, also when it is to be restarted always', async () => {
    await world.docker.ok('update', '--restart', 'always', 'box');
    await world.docker.run(['exec', 'box', 'systemctl', 'poweroff']);
    await world.until('it is off', async () => (await world.status('box')) === 'exited');
    assert.equal(await world.docker.ok('inspect', '--format', '{{.State.ExitCode}}', 'box'), '0');
    await world.docker.ok('start', 'box');
    await booted();
  });

  test('a daemon that is killed while it boots finds it again', async () => {
    await world.docker.ok('restart', 'box');
    await world.daemon.kill9();
    await world.daemon.start();
    await booted();
    assert.equal(await world.status('box'), 'running');
  });
});
