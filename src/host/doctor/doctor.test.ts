import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeCgroups } from './cgroups.ts';
import { judgeKernel } from './kernel.ts';
import { droppingChains, judgeBridgeFilter, judgeForwardPolicy } from './network.ts';
import { judgeDelegation } from './system-containers.ts';
import { compareVersions, versionIn } from './version.ts';
import { judgeKvm } from './virtualisation.ts';

test('versions are compared by number, not by letter', () => {
  assert.ok(compareVersions('6.18.44-fc-v595', '5.15') > 0);
  assert.ok(compareVersions('5.4.0', '5.15') < 0);
  assert.equal(compareVersions('1.8', '1.8.0'), 0);
  assert.equal(versionIn('crun version 1.8.1\ncommit: f8a'), '1.8.1');
  assert.equal(judgeKernel('5.10.0-30-amd64').status, 'fail');
});

test('a hybrid host with a controller left in cgroup2 fails, with the mount that helps', () => {
  const finding = judgeCgroups('hybrid', ['hugetlb', 'io']);
  assert.equal(finding.status, 'fail');
  assert.match(finding.found, /hugetlb, io/);
  assert.match(finding.fix!.does, /mount -t cgroup -o hugetlb cgroup \/sys\/fs\/cgroup\/hugetlb/);
  assert.match(finding.fix!.does, /-o blkio cgroup/);
  for (const mode of ['v1', 'v2', 'hybrid'] as const) assert.equal(judgeCgroups(mode, []).status, 'ok');
});

test('other tables that drop forwarded packets are named, Isle’s own are not', () => {
  const chain = (table: string, hook: string, policy: string) => ({
    chain: { family: 'ip', table, name: 'FORWARD', hook, policy },
  });
  const json = JSON.stringify({
    nftables: [
      { metainfo: {} },
      chain('filter', 'forward', 'drop'),
      chain('isle', 'forward', 'drop'),
      chain('x', 'input', 'drop'),
    ],
  });
  assert.deepEqual(droppingChains(json, 'isle'), ['ip filter FORWARD']);
  assert.match(judgeForwardPolicy(['ip filter FORWARD'], 'isle').advice!, /-i isle0 -j ACCEPT/);
  assert.equal(judgeForwardPolicy([], 'isle').status, 'ok');
  assert.equal(judgeBridgeFilter(true, []).status, 'ok');
  assert.equal(judgeBridgeFilter(true, ['ip filter FORWARD']).status, 'warn');
});

test('a host without KVM is warned, never failed', () => {
  assert.equal(judgeKvm({ usable: false, why: 'there is no /dev/kvm' }).status, 'warn');
  assert.equal(judgeKvm({ usable: true, module: 'kvm_amd' }).status, 'ok');
});

test('without KVM it is said what is used instead', () => {
  assert.match(judgeKvm({ usable: false, why: 'there is no /dev/kvm' }).found, /no \/dev\/kvm: .*emulated/);
});

test('a hybrid host has control groups for a system container’s init, but no controllers', () => {
  assert.equal(judgeDelegation('/sys/fs/cgroup', 'cpuset cpu io memory pids\n').status, 'ok');
  const hybrid = judgeDelegation('/sys/fs/cgroup/unified', '\n');
  assert.equal(hybrid.status, 'warn');
  assert.match(hybrid.found, /hybrid/);
});
