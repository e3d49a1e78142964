import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { systemWorld, type SystemWorld } from '../fixtures/system-containers.ts';

const meg = 1024 * 1024;

describe("a system container's limits", { concurrency: false }, () => {
  let world: SystemWorld;
  before(async () => {
    world = await systemWorld([]);
    await start('small', '--memory', '256m', '--cpus', '1', '--pids-limit', '50');
  });
  after(async () => await world.close());

  const start = (name: string, ...flags: string[]) =>
    world.docker.ok('run', '-d', '--runtime', 'system', '--name', name, ...flags, 'busybox', 'sleep', '1000');
  const numberIn = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? Number.NaN);
  /** Bytes, as a program that looks into /proc sees it. */
  const memoryOf = async (name: string) =>
    numberIn(await world.inside(name, 'cat', '/proc/meminfo'), /MemTotal:\s+(\d+) kB/) * 1024;
  const lxcfs = () =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && commandOf(name).includes(`${world.daemon.runRoot}/lxcfs/mount`))
      .map(Number);

  test('are what /proc shows', async () => {
    assert.equal(await memoryOf('small'), 256 * meg);
    const cpus = await world.inside('small', 'cat', '/proc/cpuinfo');
    assert.equal(cpus.match(/^processor/gm)?.length, 1);
    assert.equal((await world.inside('small', 'cat', '/proc/stat')).match(/^cpu\d/gm)?.length, 1);
    const uptime = numberIn(await world.inside('small', 'cat', '/proc/uptime'), /^(\d+)/);
    assert.ok(uptime < 3600, `up for ${uptime} s`);
  });

  test('are seen as they change', async () => {
    await world.docker.ok('update', '--memory', '300m', '--memory-swap', '300m', 'small');
    assert.equal(await memoryOf('small'), 300 * meg);
  });

  test('hold: too many processes are refused, and too much memory is taken back', async () => {
    const forks = await world.docker.run([
      ...['exec', 'small', 'sh', '-c', 'for i in $(seq 100); do sleep 20 & done; echo all'],
    ]);
    assert.doesNotMatch(forks.stdout, /all/);
    await start('greedy', '--memory', '32m', '--memory-swap', '32m');
    await world.docker.run(['exec', 'greedy', 'sh', '-c', 'tail -c 200m /dev/zero']);
    const events = await world.docker.ok('inspect', '--format', '{{.State.Status}}', 'greedy');
    assert.equal(events, 'running');
    const oom = await world.docker.run([
      ...['run', '--name', 'oom', '--runtime', 'system', '--memory', '32m', '--memory-swap', '32m'],
      ...['busybox', 'sh', '-c', 'exec tail -c 200m /dev/zero'],
    ]);
    assert.equal(oom.code, 137);
    assert.equal(await world.docker.ok('inspect', '--format', '{{.State.OOMKilled}}', 'oom'), 'true');
  });

  test('one lxcfs shows them all, outlives the daemon, and is started anew when it dies', async () => {
    const [first, ...more] = lxcfs();
    assert.ok(first);
    assert.deepEqual(more, []);
    await world.daemon.kill9();
    assert.match(readFileSync(`/proc/${first}/comm`, 'utf8'), /lxcfs/);
    await world.daemon.start();
    await start('later', '--memory', '128m');
    assert.deepEqual(lxcfs(), [first]);
    process.kill(first, 'SIGKILL');
    await world.until('another one serves both', async () => {
      const sizes = await Promise.all(['small', 'later'].map(memoryOf));
      return sizes.join() === [300 * meg, 128 * meg].join();
    });
    assert.notEqual(lxcfs()[0], first);
  });

  test('one that died while the daemon was away is mended when it comes back', async () => {
    const [pid = 0] = lxcfs();
    await world.daemon.kill9();
    process.kill(pid, 'SIGKILL');
    await world.daemon.start();
    await world.until('it shows limits again', async () => (await memoryOf('small')) === 300 * meg);
  });
});

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // It ended while we looked.
  }
}
