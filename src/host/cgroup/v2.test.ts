import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openV2 } from './v2.ts';

/** As Linux 6.1 gives them. */
const group = {
  'cgroup.procs': '12\n13\n',
  'cgroup.events': 'populated 1\nfrozen 0\n',
  'cgroup.freeze': '0\n',
  'cgroup.kill': '',
  'cpu.stat':
    'usage_usec 2500\nuser_usec 2000\nsystem_usec 500\nnr_periods 7\nnr_throttled 3\nthrottled_usec 99\nnr_bursts 0\nburst_usec 0\n',
  'memory.current': '4096000\n',
  'memory.peak': '5000000\n',
  'memory.max': '8388608\n',
  'memory.stat': 'anon 100\nfile 200\ninactive_file 150\nactive_file 50\n',
  'memory.events': 'low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\noom_group_kill 0\n',
  'pids.current': '2\n',
  'pids.max': 'max\n',
  'io.stat':
    '254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=0 rios=1 wios=0\n7:0\n',
};

let root: string;
before(() => {
  root = mkdtempSync(join(tmpdir(), 'isle-cgroup2-'));
  put('cgroup.controllers', 'cpuset cpu io memory pids\n');
  put('cgroup.subtree_control', '');
  for (const [name, text] of Object.entries(group)) put(`isle/abc/${name}`, text);
});
after(() => rmSync(root, { recursive: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function unexpected(what: unknown): void {
  assert.fail(String(what));
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

test('stats are read from the unified tree', async () => {
  const stats = await (await openV2(root)).cgroup('/isle/abc').stats();
  assert.deepEqual(stats, {
    readAt: stats?.readAt,
    cpu: {
      total: 2_500_000,
      user: 2_000_000,
      system: 500_000,
      throttled: { periods: 7, throttledPeriods: 3, throttledTime: 99_000 },
    },
    memory: {
      usage: 4_096_000,
      max: 5_000_000,
      limit: 8_388_608,
      failcnt: 2,
      stats: { anon: 100, file: 200, inactive_file: 150, active_file: 50 },
    },
    pids: { current: 2, limit: 0 },
    blkio: {
      serviceBytes: [
        { major: 254, minor: 0, op: 'read', value: 4096 },
        { major: 254, minor: 0, op: 'write', value: 8192 },
        { major: 8, minor: 16, op: 'read', value: 1 },
        { major: 8, minor: 16, op: 'write', value: 0 },
      ],
      serviced: [
        { major: 254, minor: 0, op: 'read', value: 1 },
        { major: 254, minor: 0, op: 'write', value: 2 },
        { major: 8, minor: 16, op: 'read', value: 1 },
        { major: 8, minor: 16, op: 'write', value: 0 },
      ],
    },
  });
});

test('without limits and controllers the host’s memory is the limit, and the rest is zero', async () => {
  put('isle/bare/cgroup.procs', '');
  put('isle/bare/cpu.stat', 'usage_usec 1\n');
  put('isle/bare/memory.max', 'max\n');
  const stats = await (await openV2(root)).cgroup('/isle/bare').stats();
  assert.ok(stats!.memory.limit > 0 && Number.isFinite(stats!.memory.limit));
  assert.deepEqual(stats!.pids, { current: 0, limit: 0 });
  assert.deepEqual(stats!.blkio.serviced, []);
});

test('a group that is gone has no stats, processes or kills, and removing it is no error', async () => {
  const gone = (await openV2(root)).cgroup('/isle/gone');
  assert.equal(await gone.stats(), undefined);
  assert.equal(await gone.exists(), false);
  assert.deepEqual(await gone.processes(), []);
  assert.equal(await gone.oomKills(), 0);
  assert.equal(await gone.frozen(), false);
  await gone.kill();
  await gone.remove();
  (await gone.watchOom(unexpected, unexpected)).close();
});

test('processes are those of the group and of all below it', async () => {
  put('isle/abc/deep/er/cgroup.procs', '44\n');
  const cgroups = await openV2(root);
  assert.deepEqual(await cgroups.cgroup('/isle/abc').processes(), [12, 13, 44]);
  assert.deepEqual((await cgroups.children('/isle')).sort(), ['abc', 'bare']);
  assert.deepEqual(await cgroups.children('/none'), []);
});

test('freezing waits for the kernel to say frozen', async () => {
  const cgroup = (await openV2(root)).cgroup('/isle/abc');
  let done = false;
  const freezing = cgroup.freeze().then(() => (done = true));
  await delay(30);
  assert.equal(read('isle/abc/cgroup.freeze')[0], '1');
  assert.equal(done, false);
  put('isle/abc/cgroup.events', 'populated 1\nfrozen 1\n');
  await freezing;
  assert.ok(await cgroup.frozen());
  put('isle/abc/cgroup.events', 'populated 1\nfrozen 0\n');
  await cgroup.thaw();
  assert.equal(read('isle/abc/cgroup.freeze')[0], '0');
});

test('killing waits until the group is empty', async () => {
  const killing = (await openV2(root)).cgroup('/isle/abc').kill();
  await delay(20);
  assert.equal(read('isle/abc/cgroup.kill'), '1');
  put('isle/abc/cgroup.events', 'populated 0\nfrozen 0\n');
  await killing;
});

test('an out-of-memory kill is told once for each growth of the counter', async () => {
  const cgroup = (await openV2(root)).cgroup('/isle/abc');
  const told: number[] = [];
  const watch = await cgroup.watchOom((kills) => told.push(kills), unexpected);
  assert.equal(await cgroup.oomKills(), 1);
  put('isle/abc/memory.events', 'oom 3\noom_kill 2\n');
  while (told.length === 0) await delay(5);
  watch.close();
  watch.close();
  assert.deepEqual(told, [2]);
});

test('making a group hands the controllers down', async () => {
  await (await openV2(root)).cgroup('/new/one').create();
  assert.equal(read('cgroup.subtree_control'), '+cpuset +cpu +io +memory +pids');
});

test('what can be limited follows from the controllers', async () => {
  const support = await (await openV2(root)).support();
  assert.ok(support.memory && support.cpuQuota && support.pids && support.blkioThrottle && support.swap);
  assert.ok(!support.oomKillDisable && !support.cpuRealtime && !support.hugetlb);
});
