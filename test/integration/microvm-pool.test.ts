import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type SideBySide, sideBySide } from '../fixtures/side-by-side.ts';

/** Guests that booted before there was a workload for them: what runs in one is as any microVM. */
describe('a pool of booted guests', { concurrency: false }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-pool-'));
  let world: SideBySide;
  before(async () => {
    const config = join(directory, 'config.json');
    writeFileSync(config, JSON.stringify({ microvm: { pool: 1, memory: 128, bootTimeout: 120 } }));
    world = await sideBySide(['--config', config]);
    await world.docker.ok('network', 'create', 'town');
  });
  after(async () => {
    await world[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const vms = () => join(world.daemon.runRoot, 'microvm/vms');
  const recordOf = (id: string): { booted?: { monitor: string } } =>
    JSON.parse(readFileSync(join(vms(), id, 'vm.json'), 'utf8'));
  /** Guests that wait have no record. */
  const waiting = () => readdirSync(vms()).filter((id) => !existsSync(join(vms(), id, 'vm.json')));

  /** Runs a container until one got a guest that waited: the first boot takes its time. Returns its id. */
  async function pooled(name: string, ...words: string[]): Promise<string> {
    let id = '';
    await world.until('a guest that waited is taken', async () => {
      id = await world.docker.ok('run', '-d', '--name', name, '--runtime', 'microvm', ...words);
      if (recordOf(id).booted) return true;
      await world.docker.ok('rm', '-f', name);
      return false;
    });
    return id;
  }

  test('its workload has its network, volumes, files, limits, log and name', async () => {
    await world.docker.ok('run', '-d', '--name', 'plain', '--network', 'town', '-v', 'shared:/shared', 'app');
    const flags = ['--network', 'town', '-p', '127.0.0.1::80', '-v', 'shared:/shared', '--cpus', '0.9'];
    await pooled('guest', '--hostname', 'guest', '-e', 'A=b', ...flags, 'app');
    assert.equal(await world.inside('guest', 'hostname'), 'guest');
    assert.equal(await world.inside('guest', 'sh', '-c', 'echo $A; cat /proc/1/comm'), 'b\nserve');
    await world.inside('guest', 'sh', '-c', 'echo from the guest >/shared/file');
    assert.equal(await world.inside('plain', 'cat', '/shared/file'), 'from the guest');
    await world.until('they reach each other', async () => {
      const there = await world.inside('plain', 'wget', '-qO-', 'http://guest/cgi-bin/name');
      const back = await world.inside('guest', 'wget', '-qO-', 'http://plain/cgi-bin/name');
      return there === 'guest' && back !== '';
    });
    const port = (await world.docker.ok('port', 'guest', '80/tcp')).split(':').at(-1);
    const answer = await fetch(`http://127.0.0.1:${port}/cgi-bin/name`);
    assert.equal((await answer.text()).trim(), 'guest');
    await world.until('its log', async () => (await world.docker.ok('logs', 'guest')) === 'serving as guest');
    assert.match(await world.docker.ok('stats', '--no-stream', '--format', '{{.Name}}', 'guest'), /guest/);
  });

  test('it goes on without the daemon, and a later one stops and starts it', async () => {
    const unused = waiting();
    await world.daemon.kill9();
    await world.daemon.start();
    assert.equal(await world.inside('guest', 'echo', 'here'), 'here');
    await world.until('nobody takes the guests of an earlier daemon', async () =>
      waiting().every((id) => !unused.includes(id)),
    );
    await world.docker.ok('stop', 'guest');
    assert.equal(await world.inspect('guest', '{{.State.ExitCode}}'), '7');
    assert.match(await world.docker.ok('logs', 'guest'), /serving as guest\ngoing/);
    await world.docker.ok('start', 'guest');
    assert.equal(await world.inside('guest', 'hostname'), 'guest');
    await world.docker.ok('rm', '-f', 'guest');
  });

  test('standard input ends, and so does the guest', async () => {
    await pooled('warm', 'app');
    await world.docker.ok('rm', '-f', 'warm');
    const { code, stdout } = await world.docker.run(
      ['run', '-i', '--rm', '--runtime', 'microvm', 'app', 'cat'],
      'typed',
    );
    assert.deepEqual([code, stdout], [0, 'typed']);
  });

  test('one with more networks than a waiting guest has cards boots a guest of its own', async () => {
    await world.docker.ok('network', 'create', 'village');
    const ids = (path: string): number => statSync(path).uid;
    await world.until('one that had been promised a guest is started', async () => {
      const offered = waiting().map((id) => ids(join(vms(), id, 'monitor')));
      const flags = ['--runtime', 'microvm', '--network', 'town'];
      const id = await world.docker.ok('create', '--name', 'two', ...flags, 'app');
      await world.docker.ok('network', 'connect', 'village', 'two');
      await world.docker.ok('start', 'two');
      assert.match(await world.inside('two', 'ls', '/sys/class/net'), /eth0\s+eth1/);
      const own = ids(join(world.daemon.runRoot, 'mapped', id));
      await world.docker.ok('rm', '-f', 'two');
      return offered.includes(own);
    });
  });

  test('a command that is not there leaves nothing', async () => {
    await pooled('warm', 'app');
    await world.docker.ok('rm', '-f', 'warm');
    const { code, stderr } = await world.docker.run(['run', '--rm', '--runtime', 'microvm', 'app', 'nosuch']);
    assert.equal(code, 127, stderr);
    assert.match(stderr, /executable file not found/);
  });

  test('a guest that dies while it waits is replaced', async () => {
    await world.until('one waits', async () => waiting().length === 1);
    const [id = ''] = waiting();
    const monitors = () => world.processesOf(id).filter(({ program }) => program.startsWith('qemu'));
    await world.until('its monitor runs', async () => monitors().length > 0);
    for (const { pid } of monitors()) process.kill(pid, 'SIGKILL');
    await world.until('another one waits', async () => waiting().length === 1 && waiting()[0] !== id);
    await pooled('after', 'app');
    await world.docker.ok('rm', '-f', 'after');
  });
});
