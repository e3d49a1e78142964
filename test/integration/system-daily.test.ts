import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { isle, Terminal } from '../fixtures/command-line.ts';
import { systemWorld, type SystemWorld } from '../fixtures/system-containers.ts';

describe('a day with a system container', { concurrency: false }, () => {
  let world: SystemWorld;
  before(async () => {
    world = await systemWorld(['systemd'], {
      // As an image with systemd-resolved has it.
      'etc/resolv.conf': { type: 'symlink', target: '../run/systemd/resolve/stub-resolv.conf' },
      'etc/passwd-note': 'made for this test\n',
    });
    await world.docker.ok('network', 'create', 'lan');
    await world.docker.ok('volume', 'create', 'kept');
    await world.docker.ok(
      ...['run', '-d', '--name', 'box', '--hostname', 'box', '--runtime', 'system', '--network', 'lan'],
      ...['-p', '127.0.0.1::7777', '-v', 'kept:/srv/kept', '--restart', 'unless-stopped'],
      ...['--health-cmd', 'systemctl is-active dbus', '--health-interval', '300ms'],
      'systemd',
    );
    await booted('box');
  });
  after(async () => await world.close());

  const booted = (name: string) =>
    world.until(
      'systemd has finished booting',
      async () => (await world.inside(name, 'systemctl', 'is-system-running')) === 'running',
    );

  test('names resolve through the link that systemd-resolved leaves', async () => {
    assert.match(await world.inside('box', 'cat', '/etc/resolv.conf'), /nameserver 127\.0\.0\.11/);
    await world.docker.ok('run', '-d', '--name', 'peer', '--network', 'lan', 'busybox', 'sleep', '1000');
    assert.match(await world.inside('box', 'getent', 'hosts', 'peer'), /\bpeer\b/);
    assert.match((await world.docker.run(['exec', 'peer', 'nslookup', 'box'])).stdout, /Name:\s+box/);
  });

  test('is reached on its published port', async () => {
    await world.docker.ok(
      ...['exec', '-d', 'box', 'systemd-socket-activate', '-l', '7777', '--inetd', '-a', '/bin/hostname'],
    );
    const port = Number((await world.docker.ok('port', 'box', '7777')).split(':').at(-1));
    await world.until('it answers', async () => (await readAll(port)) === 'box\n');
  });

  test('is healthy by a check that runs inside', async () => {
    await world.until(
      'healthy',
      async () =>
        (await world.docker.ok('inspect', '--format', '{{.State.Health.Status}}', 'box')) === 'healthy',
    );
  });

  test('its root is nobody outside, and its own files are its own', async () => {
    const pid = await world.docker.ok('inspect', '--format', '{{.State.Pid}}', 'box');
    const uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
    assert.ok(uid > 65536, `root is ${uid}`);
    assert.equal(await world.inside('box', 'stat', '-c', '%u:%g', '/etc/shadow', '/srv/kept'), '0:42\n0:0');
    await world.inside(
      'box',
      'sh',
      '-c',
      'useradd -m anna && echo hers >/home/anna/note && chown anna /home/anna/note',
    );
  });

  test('isle shell logs in, also as its own users', async () => {
    const { stdout } = await isle(world.daemon.host, ['shell', '--user', 'anna', 'box'], {
      input: 'id -un; cat note; hostname\n',
    });
    assert.equal(stdout, 'anna\nhers\nbox\n');
  });

  test('its console asks who is there', async () => {
    await world.docker.ok('create', '-it', '--name', 'console', '--runtime', 'system', 'systemd');
    await using terminal = new Terminal(world.daemon.host, ['start', '-ai', 'console']);
    await terminal.until(/login: /, 60_000);
    terminal.type('nobody\r');
    await terminal.until(/Password: /, 30_000);
    const ids = await Promise.all(
      ['box', 'console'].map((name) => world.inside(name, 'cat', '/etc/machine-id')),
    );
    assert.notEqual(ids[0], ids[1], 'each boots as a machine of its own');
    await world.docker.ok('stop', 'console');
    assert.equal(await terminal.code(60_000), 0);
  });

  test('what was changed is committed with its owners, and boots again', async () => {
    await world.docker.ok('commit', 'box', 'grown');
    await world.docker.ok('run', '-d', '--name', 'again', '--runtime', 'system', 'grown');
    await booted('again');
    assert.equal(await world.inside('again', 'stat', '-c', '%U', '/home/anna/note'), 'anna');
  });

  test('without a user namespace it boots, too, with no more rights than a container', async () => {
    await world.docker.ok(
      ...['run', '-d', '--name', 'bare', '--runtime', 'system', '--userns', 'host', 'systemd'],
    );
    await booted('bare');
    assert.equal((await world.docker.run(['exec', 'bare', 'mount', '-t', 'tmpfs', 'x', '/mnt'])).code, 32);
    await world.docker.ok('stop', 'bare');
  });
});

/** What comes from a local port until it is closed. */
function readAll(port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.setTimeout(5000, () => socket.destroy());
  socket.on('data', (data: Buffer) => (text += data.toString()));
  socket.on('error', () => resolve(text));
  socket.on('close', () => resolve(text));
  return promise;
}
