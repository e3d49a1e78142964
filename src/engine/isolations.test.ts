import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type FakeEngine,
  fakeEngine,
  type MoreRuntimes,
  offerOf,
  specOf,
} from '../../test/fixtures/fake-engine.ts';
import { fakeRuntime } from '../../test/fixtures/fake-runtime.ts';
import { isleError, messageOf } from '../lib/errors.ts';
import type { ContainerSpec } from './model.ts';

const never = new AbortController().signal;

const all: MoreRuntimes = {
  runtimes: (world) => ({
    system: offerOf(fakeRuntime(world, { bootsInit: true })),
    microvm: offerOf(fakeRuntime(world, { ownKernel: true })),
  }),
};

const withoutQemu: MoreRuntimes = {
  runtimes: () => ({
    microvm: {
      path: '/usr/bin/qemu-system-x86_64',
      open: async () => {
        throw isleError('unavailable', { message: 'QEMU is not installed: install qemu-system-x86' });
      },
    },
  }),
};

async function engineFor(
  t: { after(fn: () => Promise<void>): void },
  more: MoreRuntimes = all,
): Promise<FakeEngine> {
  const fake = await fakeEngine({}, undefined, more);
  t.after(() => fake.close());
  return fake;
}

async function create(fake: FakeEngine, runtime: string, more: Partial<ContainerSpec> = {}, name?: string) {
  const spec = { ...specOf(['sleep', '1000']), runtime, ...more };
  return (await fake.engine.containers.create(name, spec)).id;
}

test('a runtime that is not there says why; one that is misspelled, which was meant', async (t) => {
  const fake = await engineFor(t, withoutQemu);
  await assert.rejects(
    create(fake, 'microvm'),
    /runtime microvm is not available: QEMU is not installed: install qemu/,
  );
  await assert.rejects(
    create(fake, 'micorvm'),
    /unknown or invalid runtime name: micorvm \(did you mean "microvm"\?\)/,
  );
});

test('a runtime whose tools came later is taken up without a restart', async (t) => {
  let installed = false;
  const fake = await engineFor(t, {
    runtimes: (world) => ({
      late: {
        path: '/late',
        open: async () => {
          if (!installed) throw isleError('unavailable', { message: 'not yet' });
          return fakeRuntime(world);
        },
      },
    }),
  });
  await assert.rejects(create(fake, 'late'), /not yet/);
  installed = true;
  await fake.engine.containers.start(await create(fake, 'late'));
});

test('a container whose runtime is gone is shown with the reason, cleaned up after, and can be removed', async () => {
  const before = await fakeEngine({}, undefined, all);
  const id = await create(before, 'microvm', {}, 'orphan');
  await before.engine.containers.start(id);
  const after = await before.restart(withoutQemu);
  const { state } = after.engine.containers.get('orphan');
  assert.equal(state.phase, 'exited');
  assert.match(state.error, /runtime microvm is not available any more: QEMU is not installed/);
  assert.equal(after.world.workloads.size, 0, 'nothing of it runs any more');
  await assert.rejects(after.engine.containers.start(id), /runtime microvm is not available/);
  const again = await after.restart(withoutQemu);
  assert.match(again.engine.containers.get(id).state.error, /microvm is not available/);
  await again.engine.containers.remove('orphan', { force: false, volumes: true });
  await again.close();
});

test('a kernel of its own: what would share with the host or others is refused with the flag', async (t) => {
  const fake = await engineFor(t);
  const other = await create(fake, 'crun', { ipcMode: 'shareable' }, 'other');
  const refused: [Partial<ContainerSpec>, RegExp][] = [
    [{ networkMode: 'host' }, /--network host shares a namespace.*microvm/],
    [{ networkMode: 'container:other' }, /--network container:/],
    [{ ipcMode: 'host' }, /--ipc/],
    [{ ipcMode: { container: other } }, /--ipc/],
    [{ pidMode: 'host' }, /--pid/],
    [{ utsMode: 'host' }, /--uts/],
    [{ cgroupnsMode: 'host' }, /--cgroupns/],
    [{ usernsMode: 'host' }, /--userns/],
    [{ devices: [{ hostPath: '/dev/fuse', containerPath: '/dev/fuse', permissions: 'rwm' }] }, /\/dev\/fuse/],
    [{ deviceCgroupRules: ['c 1:3 rwm'] }, /--device-cgroup-rule/],
    [{ securityOpt: ['seccomp={}'] }, /--security-opt seccomp/],
    [{ resources: { oomKillDisable: true } }, /--oom-kill-disable/],
    [{ resources: { cpuRealtimeRuntime: 10 } }, /--cpu-rt-runtime/],
  ];
  for (const [more, message] of refused) await assert.rejects(create(fake, 'microvm', more), message);
  const id = await create(fake, 'microvm', {
    privileged: true,
    cgroupnsMode: 'host',
    securityOpt: ['no-new-privileges', 'seccomp=unconfined'],
    ipcMode: 'shareable',
  });
  await fake.engine.containers.start(id);
});

test('a kernel of its own: nobody else can share its namespaces either', async (t) => {
  const fake = await engineFor(t);
  const id = await create(fake, 'microvm', {}, 'vm');
  await fake.engine.containers.start(id);
  for (const more of [
    { networkMode: 'container:vm' },
    { pidMode: { container: 'vm' } },
    { ipcMode: { container: 'vm' } },
  ] satisfies Partial<ContainerSpec>[])
    await assert.rejects(create(fake, 'crun', more), /of container "vm": its runtime microvm/);
});

test('a kernel of its own: networks change only while it is down', async (t) => {
  const fake = await engineFor(t);
  const id = await create(fake, 'microvm', { networkMode: 'none' }, 'vm');
  await fake.engine.containers.start(id);
  await assert.rejects(
    fake.engine.networks.connect('bridge', 'vm', {}),
    /cannot change while it runs.*stop it first/,
  );
  await assert.rejects(
    fake.engine.containers.update(id, { resources: { oomKillDisable: true } }),
    /no effect/,
  );
});

test('processes inside are what the runtime says, and ps options are refused', async (t) => {
  const fake = await engineFor(t);
  const id = await create(fake, 'microvm');
  await fake.engine.containers.start(id);
  assert.deepEqual((await fake.engine.containers.top(id, '-ef')).processes, [['root', '1', 'inside']]);
  await assert.rejects(fake.engine.containers.top(id, 'aux'), /ps options \(aux\) are not possible/);
});

test('an init is booted when nobody names a command, whatever the image would run', async (t) => {
  const fake = await engineFor(t);
  const booted = await create(fake, 'system', { command: undefined });
  await fake.engine.containers.start(booted);
  assert.equal(fake.engine.containers.get(booted).process.path, '/sbin/init');
  const { workload } = fake.world.workloads.get(booted)!;
  assert.deepEqual([workload.bootInit, workload.args], [true, ['sh']]);
  const named = await create(fake, 'system', { command: ['sleep', '5'] });
  await fake.engine.containers.start(named);
  assert.equal(fake.world.workloads.get(named)!.workload.bootInit, undefined);
});

test('what ended a workload that did not end itself is told to everybody', async (t) => {
  const fake = await engineFor(t);
  fake.world.programs.doomed = async () => 255;
  const id = await create(fake, 'microvm', { command: ['doomed'] });
  const { exit } = fake.engine.containers.wait(id, 'next-exit', never);
  fake.world.exitReason = 'the guest kernel panicked';
  await fake.engine.containers.start(id);
  assert.deepEqual(await exit, { code: 255, error: 'the guest kernel panicked' });
  assert.equal(fake.engine.containers.get(id).state.error, 'the guest kernel panicked');
  const die = fake.engine.events.past({ filters: {} }).find(({ action }) => action === 'die');
  assert.equal(die?.actor.attributes.reason, 'the guest kernel panicked');
});

for (const [what, end] of Object.entries({
  stop: (fake: FakeEngine, id: string) => fake.engine.containers.stop(id, {}),
  kill: (fake: FakeEngine, id: string) => fake.engine.containers.kill(id, 'SIGINT'),
  'rm -f': (fake: FakeEngine, id: string) =>
    fake.engine.containers.remove(id, { force: true, volumes: false }),
}))
  test(`${what} ends a boot at once`, async (t) => {
    const fake = await engineFor(t);
    const booting = Promise.withResolvers<void>();
    fake.world.boot = () => {
      booting.resolve();
      return new Promise(() => {});
    };
    const policy = { name: 'always', maximumRetryCount: 0 } as const;
    const id = await create(fake, 'microvm', { restartPolicy: policy });
    const started = fake.engine.containers.start(id).catch(messageOf);
    await booting.promise;
    await end(fake, id);
    assert.match(String(await started), /was stopped while it started/);
    assert.equal(fake.world.workloads.size, 0);
    if (what === 'rm -f') return assert.throws(() => fake.engine.containers.get(id), /No such container/);
    const { state } = fake.engine.containers.get(id);
    assert.deepEqual([state.phase, state.exitCode, state.stoppedByUser], ['created', 137, true]);
    fake.world.boot = undefined;
    await fake.engine.containers.start(id);
    assert.equal(fake.engine.containers.get(id).state.phase, 'running');
  });

test('a boot that the restart policy began ends for good when it is stopped', async (t) => {
  const fake = await engineFor(t);
  fake.world.programs.once = async () => 1;
  const policy = { name: 'always', maximumRetryCount: 0 } as const;
  const id = await create(fake, 'microvm', { command: ['once'], restartPolicy: policy });
  const second = Promise.withResolvers<void>();
  await fake.engine.containers.start(id);
  fake.world.boot = () => {
    second.resolve();
    return new Promise(() => {});
  };
  await second.promise;
  await fake.engine.containers.stop(id, {});
  assert.equal(fake.engine.containers.get(id).state.phase, 'exited');
});

test('the engine closes after a boot under way, and what came up stays up', async () => {
  const fake = await fakeEngine({}, undefined, all);
  const booting = Promise.withResolvers<void>();
  const booted = Promise.withResolvers<void>();
  fake.world.boot = () => {
    booting.resolve();
    return booted.promise;
  };
  const id = await create(fake, 'microvm');
  const started = fake.engine.containers.start(id);
  await booting.promise;
  const next = fake.restart();
  booted.resolve();
  assert.equal(await started, true);
  const after = await next;
  assert.equal(after.engine.containers.get(id).state.phase, 'running');
  await after.close();
});
