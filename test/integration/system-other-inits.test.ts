import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemWorld, type SystemWorld } from '../fixtures/system-containers.ts';

describe('system containers without systemd', { concurrency: false }, () => {
  let world: SystemWorld;
  before(async () => {
    world = await systemWorld(['sysvinit', 'openrc']);
  });
  after(async () => await world.close());

  const exitOf = (name: string) =>
    world.docker.ok('inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}', name);
  const runlevel = async (name: string) => (await world.inside(name, 'runlevel')).split(' ').at(-1);

  test('sysvinit reaches its runlevel, with a login on the console and none elsewhere', async () => {
    await world.docker.ok('run', '-d', '--name', 'sysv', '--runtime', 'system', 'sysvinit');
    await world.until('runlevel 2', async () => (await runlevel('sysv')) === '2');
    await world.until('a login', async () => /getty/.test(await world.inside('sysv', 'ps', '-eo', 'args')));
    const gettys = (await world.inside('sysv', 'ps', '-eo', 'args'))
      .split('\n')
      .filter((line) => /getty/.test(line));
    assert.deepEqual(gettys, ['/sbin/getty 38400 console']);
  });

  test('sysvinit shuts down in order when it is stopped', async () => {
    await world.docker.ok('stop', 'sysv');
    assert.equal(await exitOf('sysv'), 'exited 0');
    assert.match((await world.docker.run(['logs', 'sysv'])).stdout, /runlevel: 0|Will now (halt|power off)/);
  });

  test('sysvinit restarts in place', async () => {
    await world.docker.ok('start', 'sysv');
    await world.until('runlevel 2', async () => (await runlevel('sysv')) === '2');
    const first = await world.docker.ok('inspect', '--format', '{{.State.StartedAt}}', 'sysv');
    await world.docker.run(['exec', 'sysv', 'reboot']);
    await world.until(
      'it has started anew',
      async () => (await world.docker.ok('inspect', '--format', '{{.State.StartedAt}}', 'sysv')) !== first,
    );
    await world.until('runlevel 2', async () => (await runlevel('sysv')) === '2');
  });

  test('OpenRC starts its services and stops them in order', async () => {
    await world.docker.ok('run', '-d', '--name', 'open', '--runtime', 'system', 'openrc');
    await world.until(
      'the default runlevel',
      async () => (await world.inside('open', 'rc-status', '-r')) === 'default',
    );
    await world.docker.ok('stop', 'open');
    assert.equal(await exitOf('open'), 'exited 0');
  });

  test('busybox init is told to power off', async () => {
    await world.docker.ok('run', '-d', '--name', 'box', '--runtime', 'system', 'busybox', '/bin/init');
    await world.until('it runs', async () => (await world.inside('box', 'cat', '/proc/1/comm')) === 'init');
    await world.docker.ok('stop', 'box');
    assert.equal(await exitOf('box'), 'exited 0');
  });

  test('an image without an init is refused with what to do', async () => {
    const { code, stderr } = await world.docker.run([
      'run',
      '--runtime',
      'system',
      '--name',
      'none',
      'busybox',
    ]);
    assert.equal(code, 125);
    assert.match(stderr, /no init at \/sbin\/init.*systemd-sysv.*name a command/);
    const { stdout } = await world.docker.run([
      'run',
      '--rm',
      '--runtime',
      'system',
      'busybox',
      'echo',
      'a command',
    ]);
    assert.equal(stdout, 'a command\n');
  });
});
