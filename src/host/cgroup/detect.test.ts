import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountTable } from '../mount-table.ts';
import { openCgroups } from './detect.ts';

const v1 = [
  '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755',
  '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
  '35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
  '35 31 0:32 / /elsewhere/memory rw - cgroup cgroup rw,memory',
  '40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
];
const unified = '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate';

function open(lines: string[]) {
  return openCgroups(parseMountTable(lines.join('\n')));
}

test('pure v1 and hybrid hosts are told apart, and joint controllers are found', async () => {
  const legacy = await open(v1);
  assert.equal(legacy.mode, 'v1');
  assert.deepEqual([...legacy.controllers], ['cpu', 'cpuacct', 'memory']);
  assert.equal((await open([...v1, unified])).mode, 'hybrid');
});

test('a unified host stays one when a v1 controller is mounted somewhere', async () => {
  const top = '30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw';
  assert.equal((await open([top])).mode, 'v2');
  assert.equal((await open([top, '99 1 0:77 / /opt/net_cls rw - cgroup cgroup rw,net_cls'])).mode, 'v2');
});

test('no control groups at all is an error that says what to do', async () => {
  await assert.rejects(open(['22 27 0:21 / /proc rw - proc proc rw']), /mount cgroup2 on \/sys\/fs\/cgroup/);
});
