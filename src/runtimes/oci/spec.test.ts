import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Resources } from '../../engine/model.ts';
import { isIsleError } from '../../lib/errors.ts';
import type { HostLimits } from './host-limits.ts';
import { layoutOf } from './layout.ts';
import { runtimeFailure } from './runtime-failure.ts';
import { allCapabilities, capabilitiesOf, capabilitySets, defaultCapabilities } from './spec-capabilities.ts';
import { parseSet, resourcesOf } from './spec-resources.ts';
import { customProfile, seccompProfiles } from './spec-seccomp.ts';
import { parseSecurityOptions } from './spec-security.ts';
import { lookUpUser } from './spec-user.ts';

const invalid = (error: unknown) => isIsleError(error, 'invalidParameter');
const all = new Set(allCapabilities);
const ask = (changes: object) => ({ privileged: false, capAdd: [], capDrop: [], ...changes });

test('capabilities: the fourteen, added, dropped, all of them, and what the host has not', () => {
  assert.deepEqual(new Set(capabilitiesOf(ask({}), all)), new Set(defaultCapabilities));
  assert.ok(capabilitiesOf(ask({ capAdd: ['sys_time'] }), all).includes('CAP_SYS_TIME'));
  assert.ok(!capabilitiesOf(ask({ capDrop: ['CAP_CHOWN'] }), all).includes('CAP_CHOWN'));
  assert.deepEqual(capabilitiesOf(ask({ capDrop: ['ALL'], capAdd: ['CHOWN'] }), all), ['CAP_CHOWN']);
  assert.deepEqual(capabilitiesOf(ask({ capAdd: ['ALL'] }), all), allCapabilities);
  const poor = new Set(allCapabilities.filter((name) => name !== 'CAP_SYS_RESOURCE'));
  assert.equal(capabilitiesOf(ask({ privileged: true }), poor).length, allCapabilities.length - 1);
  assert.throws(() => capabilitiesOf(ask({ capAdd: ['SYS_RESOURCE'] }), poor), /does not grant/);
  assert.throws(() => capabilitiesOf(ask({ capAdd: ['NOPE'] }), all), /unknown capability/);
});

test('capabilities are active for root only, and never inheritable', () => {
  const user = capabilitySets(defaultCapabilities, 1000);
  assert.deepEqual([user.effective, user.permitted, user.inheritable, user.ambient], [[], [], [], []]);
  assert.equal(capabilitySets(defaultCapabilities, 0).effective.length, 14);
});

test('seccomp: rules depend on capabilities, and the host’s profile keeps namespaces from being made', async () => {
  const profiles = seccompProfiles();
  const plain = await profiles.default(defaultCapabilities);
  const admin = await profiles.default([...defaultCapabilities, 'CAP_SYS_ADMIN']);
  const allowed = (filter: typeof plain, name: string) =>
    filter.syscalls.some(
      (call) => call.action === 'SCMP_ACT_ALLOW' && !call.args && call.names.includes(name),
    );
  for (const name of ['mount', 'unshare', 'setns', 'bpf', 'clone3', 'clone']) {
    assert.ok(!allowed(plain, name), name);
    assert.ok(allowed(admin, name), name);
  }
  assert.ok(allowed(plain, 'openat2'));
  assert.equal(await profiles.default(defaultCapabilities), plain, 'made once');
});

test('seccomp: a profile of the user is checked, and filtered as the host’s is', () => {
  const profile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
    syscalls: [
      { names: ['read'], action: 'SCMP_ACT_ALLOW' },
      { name: 'write', action: 'SCMP_ACT_ALLOW' },
      { names: ['bpf'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_BPF'] } },
      { names: ['old'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '99.0' } },
      { names: ['sparc'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['sparc'] } },
    ],
  };
  const filter = customProfile(JSON.stringify(profile), []);
  assert.deepEqual(
    filter.syscalls.flatMap(({ names }) => names),
    ['read', 'write'],
  );
  assert.equal(customProfile(JSON.stringify(profile), ['CAP_BPF']).syscalls.length, 3);
  for (const text of [
    '',
    '{',
    '[]',
    '{}',
    '{"defaultAction":1}',
    '{"defaultAction":"x","syscalls":[{}]}',
    'null',
  ])
    assert.throws(() => customProfile(text, []), invalid, text);
  fc.assert(
    fc.property(fc.json(), (text) => {
      try {
        customProfile(text, []);
      } catch (error) {
        assert.ok(invalid(error), String(error));
      }
    }),
  );
});

test('security options: both separators, off where the host has none, refused where it cannot', () => {
  const none = { apparmor: false, selinux: false };
  const parse = (...options: string[]) => parseSecurityOptions(options, false, none);
  assert.equal(parse('no-new-privileges').noNewPrivileges, true);
  assert.equal(parse('no-new-privileges:false').noNewPrivileges, false);
  assert.equal(parse('seccomp=unconfined').seccomp, 'unconfined');
  assert.deepEqual(parse('seccomp:{"a":"b=c"}').seccomp, { profile: '{"a":"b=c"}' });
  assert.equal(parse('label=disable', 'apparmor=unconfined').apparmorProfile, undefined);
  assert.equal(
    parseSecurityOptions(['apparmor=mine'], false, { ...none, apparmor: true }).apparmorProfile,
    'mine',
  );
  assert.equal(parseSecurityOptions([], true, none).seccomp, 'unconfined');
  for (const option of ['apparmor=mine', 'label=type:x', 'nonsense', 'seccomp=', 'no-new-privileges=maybe'])
    assert.throws(() => parse(option), invalid, option);
  assert.throws(() => parse('nesting=true'), /--runtime system/);
});

const passwd = 'root:x:0:0:root:/root:/bin/sh\n# note\nbroken\nweb:x:33:44::/srv:/bin/sh\n77:x:5:6::/n:\n';
const group = 'root:x:0:\nvideo:x:27:web,other\nweb:x:44:\nten:x:10:root\n';
const files = async (path: string) => (path === '/etc/passwd' ? passwd : group);

test('users: names, numbers, groups and homes as Docker takes them', async () => {
  const look = async (user: string, more: string[] = []) => await lookUpUser(user, more, files);
  assert.deepEqual(await look(''), { uid: 0, gid: 0, additionalGids: [0, 10], home: '/root' });
  assert.deepEqual(await look('web'), { uid: 33, gid: 44, additionalGids: [44, 27], home: '/srv' });
  assert.deepEqual(await look('33'), { uid: 33, gid: 44, additionalGids: [44, 27], home: '/srv' });
  assert.deepEqual(await look('web:video'), { uid: 33, gid: 27, additionalGids: [27], home: '/srv' });
  assert.deepEqual(await look('999'), { uid: 999, gid: 0, additionalGids: [0], home: '/' });
  assert.deepEqual(await look('999:888'), { uid: 999, gid: 888, additionalGids: [888], home: '/' });
  assert.deepEqual((await look('web', ['ten', '5'])).additionalGids, [44, 27, 10, 5]);
  assert.equal((await look('77')).uid, 5, 'a name that looks like a number is a name');
  for (const user of ['nobody', 'web:nogroup', '2147483648', '-1', '1:-1', '99999999999999999999'])
    await assert.rejects(look(user), invalid, user);
  const bare = await lookUpUser('12:13', [], async () => undefined);
  assert.deepEqual(bare, { uid: 12, gid: 13, additionalGids: [13], home: '/' });
});

test('users: whatever the image’s files hold, ids stay in range', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string(), fc.string(), fc.string(), async (user, users, groups) => {
      try {
        const found = await lookUpUser(user, [], async (path) => (path === '/etc/passwd' ? users : groups));
        for (const id of [found.uid, found.gid, ...found.additionalGids])
          assert.ok(Number.isInteger(id) && id >= 0 && id <= 0x7fff_ffff);
      } catch (error) {
        assert.ok(invalid(error), String(error));
      }
    }),
  );
});

const host: HostLimits = {
  version: 1,
  memory: true,
  memoryReservation: true,
  swap: true,
  swappiness: true,
  oomKillDisable: true,
  kernelMemoryTcp: true,
  cpuShares: true,
  cpuQuota: true,
  cpuRealtime: false,
  cpuset: true,
  pids: true,
  blkioWeight: true,
  blkioThrottle: true,
  hugetlb: true,
  cpus: [0, 1, 2, 3],
  memoryNodes: [0],
  oomScoreAdj: 0,
  ownOomScoreAdj: 0,
};
const gib = 2 ** 30;

test('limits: what is asked becomes the specification’s words; nothing asked is nothing', async () => {
  assert.deepEqual(await resourcesOf({}, host), {});
  assert.deepEqual(
    await resourcesOf({ memory: gib, nanoCpus: 1.5e9, pidsLimit: 50, cpusetCpus: '0-1,3' }, host),
    {
      memory: { limit: gib, swap: 2 * gib },
      cpu: { period: 100_000, quota: 150_000, cpus: '0-1,3' },
      pids: { limit: 50 },
    },
  );
  assert.deepEqual(await resourcesOf({ pidsLimit: -1 }, host), {});
  assert.deepEqual((await resourcesOf({ memory: gib }, { ...host, swap: false })).memory, { limit: gib });
  assert.deepEqual((await resourcesOf({ memory: gib, memorySwap: -1 }, host)).memory, {
    limit: gib,
    swap: -1,
  });
  const throttled = await resourcesOf({ deviceReadBps: [{ path: '/dev/null', rate: 5 }] }, host);
  assert.deepEqual(throttled.blockIO, { throttleReadBpsDevice: [{ major: 1, minor: 3, rate: 5 }] });
});

test('limits: what is wrong or impossible is refused with a reason', async () => {
  const refused: [Resources, RegExp, Partial<HostLimits>?][] = [
    [{ memory: 5 }, /6MB/],
    [{ memorySwap: gib }, /always set the Memory limit/],
    [{ memory: gib, memorySwap: gib / 2 }, /larger than memory limit/],
    [{ memory: gib, memoryReservation: 2 * gib }, /memory reservation limit/],
    [{ memory: gib, memorySwap: 2 * gib }, /does not account swap/, { swap: false }],
    [{ memorySwappiness: 101 }, /0-100/],
    [{ memorySwappiness: 10 }, /no such setting/, { swappiness: false }],
    [{ nanoCpus: 5e9 }, /only 4 CPUs/],
    [{ nanoCpus: 1e9, cpuQuota: 5000 }, /Conflicting/],
    [{ cpuPeriod: 10 }, /less than 1ms/],
    [{ cpuShares: 1 }, /CPU shares/],
    [{ cpuRealtimeRuntime: 1 }, /realtime/],
    [{ cpusetCpus: '0-4' }, /not available/],
    [{ cpusetCpus: 'x' }, /Invalid value/],
    [{ cpusetMems: '7' }, /not available/],
    [{ blkioWeight: 5 }, /10 to 1000/],
    [{ blkioWeight: 500 }, /no blkio\.weight/, { blkioWeight: false }],
    [{ deviceWriteIops: [{ path: '/etc/passwd', rate: 1 }] }, /not a device node/],
    [{ pidsLimit: 5 }, /no pids controller/, { pids: false }],
    [{ memory: gib }, /no memory controller/, { memory: false }],
  ];
  for (const [asked, why, lacks] of refused)
    await assert.rejects(resourcesOf(asked, { ...host, ...lacks }), (error) => {
      assert.ok(invalid(error), String(error));
      assert.match((error as Error).message, why);
      return true;
    });
});

test('sets of numbers are parsed, and bounded', () => {
  assert.deepEqual(parseSet('0-2,5'), [0, 1, 2, 5]);
  for (const text of ['', 'a', '3-1', '1,,2', '0-99999', '-1']) assert.equal(parseSet(text), undefined, text);
});

test('ids and cgroup parents never leave their place', () => {
  const layout = layoutOf('/run/isle', 'isle');
  assert.equal(layout.cgroup('abc', ''), '/isle/abc');
  assert.equal(layout.cgroup('abc', 'own/one'), '/own/one/abc');
  for (const id of ['', '.', '..', 'a/b', '-a', 'a\n', 'x'.repeat(200)])
    assert.throws(() => layout.bundle(id), invalid, id);
  for (const parent of ['..', '/a/../b', '/./a', 'a\nb', '/', 'a//b'])
    assert.throws(() => layout.cgroup('abc', parent), invalid, parent);
});

test('what the runtime said becomes the catalogue’s error', () => {
  const code = (text: string) => runtimeFailure('crun', text, 'cmd').code;
  assert.equal(code('executable file `x` not found in $PATH: No such file or directory'), 'commandNotFound');
  assert.equal(code('2026-01-01T00:00:00.1Z: open executable: Permission denied'), 'commandNotExecutable');
  assert.equal(code('mount `a` to `b`: Invalid argument'), 'invalidParameter');
  assert.equal(code('warning\nchdir `/x`: Not a directory'), 'invalidParameter');
  const runc = (text: string) =>
    code(`time="2026-01-01T00:00:00Z" level=error msg="runc create failed: ${text}"`);
  assert.equal(
    runc('unable to start container process: exec: \\"x\\": executable file not found in $PATH'),
    'commandNotFound',
  );
  assert.equal(
    runc('unable to start container process: exec: \\"/etc\\": permission denied'),
    'commandNotExecutable',
  );
  assert.equal(code('something strange'), 'hostTool');
  assert.equal(code(''), 'hostTool');
});
