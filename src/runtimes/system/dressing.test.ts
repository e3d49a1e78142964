import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { workloadOf } from '../../../test/fixtures/workload.ts';
import type { Workload } from '../../engine/runtime.ts';
import type { SpecHost } from '../oci/spec.ts';
import { systemDressing } from './dressing.ts';

const lxcfs = { mounts: async () => [], join: async () => {}, leave: async () => {}, close: async () => {} };
const dressing = systemDressing({ unified: '/nonexistent', lxcfs });
const idMap = { hostId: 100_000, size: 65_536 };

test('an init is the first process, as root, on a terminal, whatever the image says', async (t) => {
  const { workload, ending } = await dress(t, {
    bootInit: true,
    args: ['/entrypoint.sh', 'serve'],
    user: 'app',
    cwd: '/app',
    init: true,
    idMap,
  });
  assert.deepEqual(workload.args, ['/sbin/init']);
  assert.deepEqual([workload.user, workload.cwd, workload.tty, workload.init], ['', '/', true, false]);
  assert.equal(ending?.signal, 30);
  assert.ok(workload.env.includes('container=lxc'));
  assert.ok(workload.env.includes(`container_uuid=${workload.id.slice(0, 32)}`));
  assert.ok(workload.capAdd.includes('CAP_SYS_ADMIN'));
});

test('an init that the image or the user names keeps its arguments', async (t) => {
  const { workload } = await dress(t, { args: ['/sbin/init', '--log-level=debug'] });
  assert.deepEqual(workload.args, ['/sbin/init', '--log-level=debug']);
});

test('another command stays what it is', async (t) => {
  const { workload, ending } = await dress(t, { args: ['sh'], user: 'app', idMap });
  assert.deepEqual([workload.args, workload.user, workload.tty], [['sh'], 'app', false]);
  assert.equal(ending, undefined);
  assert.deepEqual(workload.capAdd, []);
});

test('without a user namespace no capability is added that is the host’s', async (t) => {
  const { workload } = await dress(t, { bootInit: true });
  assert.deepEqual(workload.capAdd, ['CAP_SYS_BOOT']);
});

test('what is dropped stays dropped', async (t) => {
  const { workload } = await dress(t, { bootInit: true, idMap, capDrop: ['sys_admin'], capAdd: ['NET_RAW'] });
  assert.ok(!workload.capAdd.includes('CAP_SYS_ADMIN'));
  const none = await dress(t, { bootInit: true, idMap, capDrop: ['ALL'], capAdd: ['KILL'] });
  assert.deepEqual(none.workload.capAdd, ['KILL']);
});

test('a mount of the user’s is in place of the usual one in memory', async (t) => {
  const mount = { type: 'bind', source: '/srv', target: '/tmp', readOnly: false } as const;
  const { workload } = await dress(t, { bootInit: true, mounts: [mount] });
  assert.deepEqual(
    workload.mounts.map(({ type, target }) => `${type} ${target}`),
    ['tmpfs /run', 'tmpfs /run/lock', 'bind /tmp'],
  );
});

test('nesting is understood, and needs a user namespace', async (t) => {
  const { workload } = await dress(t, {
    bootInit: true,
    idMap,
    securityOpt: ['nesting=true', 'seccomp=builtin'],
  });
  assert.deepEqual(workload.securityOpt, ['seccomp=builtin']);
  await assert.rejects(dress(t, { bootInit: true, securityOpt: ['nesting'] }), /needs a user namespace/);
  await assert.rejects(dress(t, { idMap, securityOpt: ['nesting=maybe'] }), /true or false/);
});

async function dress(t: TestContext, changes: Partial<Workload>) {
  const root = mkdtempSync(join(tmpdir(), 'isle-dress-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'sbin'));
  writeFileSync(join(root, 'sbin/init'), '#!/bin/sh\n');
  chmodSync(join(root, 'sbin/init'), 0o755);
  const host = { capabilities: new Set(['CAP_SYS_ADMIN', 'CAP_SYS_BOOT', 'CAP_NET_ADMIN']) } as SpecHost;
  return await dressing.dress(workloadOf({ rootfs: root, stateDir: root, ...changes }), host);
}
