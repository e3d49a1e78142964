import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cgroup, Cgroups } from '../../src/host/cgroup/cgroup.ts';
import { detectCgroups, openCgroups } from '../../src/host/cgroup/detect.ts';
import { openV2 } from '../../src/host/cgroup/v2.ts';
import { mountTable } from '../../src/host/mount.ts';

const name = `it${randomBytes(4).toString('hex')}`;
const trees: Cgroups[] = [await detectCgroups()];
// A hybrid host's unified tree freezes, kills and counts as a pure v2 host's does, and the rest of it is a v1 host's.
if (trees[0]!.mode === 'hybrid') {
  trees.push(await openV2('/sys/fs/cgroup/unified'));
  trees.push(await openCgroups((await mountTable()).filter((entry) => entry.type !== 'cgroup2')));
}

after(async () => {
  for (const tree of trees) await tree.cgroup(`/${name}`).remove();
});

/** A shell with two children, all in the group: it forks only after it was moved. */
async function sleepers(cgroup: Cgroup): Promise<ChildProcess> {
  const script = 'read x; sleep 1000 & sleep 1000 & wait';
  const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'] });
  await cgroup.add(child.pid!);
  child.stdin!.end('go\n');
  return child;
}

for (const tree of trees) {
  test(`${tree.mode}: processes are found below, frozen, thawed, killed and their group removed`, async () => {
    const cgroup = tree.cgroup(`/${name}/one`);
    assert.equal(await cgroup.exists(), false);
    await cgroup.create();
    await cgroup.create();
    const child = await sleepers(cgroup);
    while ((await cgroup.processes()).length < 3) await delay(5);
    const below = tree.cgroup(`/${name}/one/below`);
    await below.create();
    const second = await sleepers(below);
    assert.ok((await cgroup.processes()).includes(second.pid!));

    await cgroup.freeze();
    assert.ok(await cgroup.frozen());
    await cgroup.thaw();
    assert.equal(await cgroup.frozen(), false);

    await cgroup.freeze();
    const exits = [once(child, 'exit'), once(second, 'exit')];
    await cgroup.kill();
    await Promise.all(exits);
    assert.deepEqual(await cgroup.processes(), []);
    assert.deepEqual(await tree.children(`/${name}`), ['one']);
    await cgroup.remove();
    await cgroup.remove();
    assert.equal(await cgroup.exists(), false);
  });

  test(`${tree.mode}: removing waits for processes that are just ending`, async () => {
    const cgroup = tree.cgroup(`/${name}/busy`);
    await cgroup.create();
    const child = await sleepers(cgroup);
    const removing = cgroup.remove();
    await delay(20);
    await cgroup.kill();
    await removing;
    assert.equal(await cgroup.exists(), false);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
}

test('stats count what a process really uses', async () => {
  const cgroup = trees[0]!.cgroup(`/${name}/stats`);
  await cgroup.create();
  const child = spawn(
    'sh',
    [
      '-c',
      'read x; y=$(head -c 2000000 /dev/zero | tr "\\0" a); i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 1000',
    ],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
    },
  );
  await cgroup.add(child.pid!);
  child.stdin!.end('go\n');
  await delay(300);
  const stats = (await cgroup.stats())!;
  assert.ok(stats.cpu.total > 10e6, `${stats.cpu.total} ns`);
  assert.ok(stats.cpu.user <= stats.cpu.total * 1.1);
  assert.ok(stats.memory.usage > 0 && stats.memory.limit > stats.memory.usage);
  assert.ok('inactive_file' in stats.memory.stats);
  assert.ok(stats.pids.current >= 1);
  await cgroup.kill();
  await cgroup.remove();
});

test('an out-of-memory kill is counted and told at once', async (t) => {
  const tree = trees[0]!;
  const cgroup = tree.cgroup(`/${name}/oom`);
  await cgroup.create();
  const limit =
    tree.mode === 'v2'
      ? `/sys/fs/cgroup/${name}/oom/memory.max`
      : `/sys/fs/cgroup/memory/${name}/oom/memory.limit_in_bytes`;
  assert.ok(existsSync(limit));
  writeFileSync(limit, '8388608');
  const fds = readdirSync('/proc/self/fd').length;
  const { promise: told, resolve } = Promise.withResolvers<number>();
  const watch = await cgroup.watchOom(resolve, (error) => t.diagnostic(String(error)));
  const child = spawn('sh', ['-c', 'read x; exec tail /dev/zero'], { stdio: ['pipe', 'ignore', 'ignore'] });
  await cgroup.add(child.pid!);
  const exit = once(child, 'exit');
  child.stdin!.end('go\n');
  const [, signal] = await exit;
  assert.equal(signal, 'SIGKILL');
  assert.equal(await cgroup.oomKills(), 1);
  const timer = setTimeout(() => resolve(-1), 5000);
  assert.equal(await told, 1);
  clearTimeout(timer);
  watch.close();
  watch.close();
  assert.ok(readdirSync('/proc/self/fd').length <= fds + 2);
  await cgroup.remove();
});

test('what the host can limit is told without leaving a trace', async () => {
  const support = await trees[0]!.support();
  assert.ok(support.memory && support.pids && support.cpuQuota && support.cpuShares && support.cpuset);
  assert.doesNotMatch(readFileSync('/proc/self/mountinfo', 'utf8'), /isle-probe/);
  assert.ok(!(await trees[0]!.children('/')).some((child) => child.startsWith('isle-probe')));
});
