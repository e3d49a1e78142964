import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FakeDisks } from '../../../../test/fixtures/fake-disks.ts';
import { type FakeEngine, fakeEngine, withMachines } from '../../../../test/fixtures/fake-engine.ts';
import { diskRequest, machineRequest } from '../../../../test/fixtures/machine-request.ts';
import { isleError } from '../../../lib/errors.ts';
import { silentLog } from '../../../lib/log.ts';
import { createDisks } from '../../../storage/disks/service.ts';
import type { MachineRequest } from '../../machines.ts';

type Context = { after(fn: () => Promise<void>): void };
type Engine = FakeEngine & { disks: FakeDisks };

async function engineFor(t: Context): Promise<Engine> {
  const fake = await fakeEngine({}, undefined, withMachines);
  t.after(() => fake.close());
  return Object.assign(fake, { disks: fake.options.disks as FakeDisks });
}

const bare = { comment: '', memory: false, quiesce: false };

async function create(
  { engine }: FakeEngine,
  name: string,
  hardware: Partial<MachineRequest['hardware']> = {},
  disks = [diskRequest(), diskRequest()],
): Promise<string> {
  return (await engine.machines.create(name, machineRequest(hardware, disks))).id;
}

function treeOf({ engine }: FakeEngine, name: string): string[] {
  return engine.machines.snapshots
    .list(name)
    .map((one) => `${one.parent ?? ''}>${one.name}${one.current ? '*' : ''}`);
}

/** The workload that the runtime was given last. */
function hardwareGiven({ world }: FakeEngine, id: string) {
  return world.workloads.get(id)?.workload.machine;
}

test('snapshots make a tree, and reverting goes back in it', async (t) => {
  const fake = await engineFor(t);
  const { machines } = fake.engine;
  await create(fake, 'deb', { vcpus: 2 });
  const taken = await machines.snapshots.take('deb', { ...bare, name: 'a', comment: 'first', memory: true });
  assert.deepEqual([taken.memory, taken.pausedMs, taken.comment], [false, 0, 'first']);
  await machines.edit('deb', { vcpus: 4 });
  await machines.snapshots.take('deb', { ...bare, name: 'b' });
  await machines.snapshots.take('deb', bare);
  await machines.snapshots.revert('deb', 'a', { force: false, start: false });
  assert.equal(machines.get('deb').spec.machine.vcpus, 2, 'the hardware goes back, too');
  await machines.snapshots.take('deb', { ...bare, name: 'd' });
  assert.deepEqual(treeOf(fake, 'deb'), ['>a', 'a>b', 'b>snap0', 'a>d*']);
  assert.deepEqual(fake.disks.get('deb-vdb').snapshots, ['a', 'b', 'snap0', 'd']);
  await machines.snapshots.remove('deb', 'a');
  assert.deepEqual(treeOf(fake, 'deb'), ['>b', 'b>snap0', '>d*']);
  await machines.snapshots.remove('deb', 'd');
  assert.deepEqual(treeOf(fake, 'deb'), ['>b', 'b>snap0']);
  assert.deepEqual(fake.disks.get('deb-vda').snapshots, ['b', 'snap0']);
});

test('what is wrong with a snapshot is said before anything is done', async (t) => {
  const fake = await engineFor(t);
  const { snapshots } = fake.engine.machines;
  await create(fake, 'deb');
  await create(fake, 'raw', {}, [diskRequest(undefined, { format: 'raw' })]);
  await snapshots.take('deb', { ...bare, name: 'a' });
  const calls = fake.disks.calls.length;
  for (const name of ['', '../a', '-a', '17', 'a b', 'a\n', 'x'.repeat(129)])
    await assert.rejects(snapshots.take('deb', { ...bare, name }), { code: 'invalidParameter' }, name);
  await assert.rejects(snapshots.take('deb', { ...bare, name: 'a' }), /has a snapshot "a" already/);
  await assert.rejects(snapshots.take('raw', bare), /disk vda cannot be in a snapshot: raw/);
  await assert.rejects(snapshots.take('nobody', bare), { code: 'noSuchMachine' });
  await assert.rejects(snapshots.revert('deb', 'b', { force: true, start: false }), {
    code: 'noSuchMachineSnapshot',
  });
  await assert.rejects(snapshots.remove('deb', '../../a'), { code: 'noSuchMachineSnapshot' });
  assert.equal(fake.disks.calls.slice(calls).filter((call) => !call.startsWith('removeSnapshot')).length, 0);
});

test('a snapshot that fails on one disk is on none', async (t) => {
  const fake = await engineFor(t);
  const { snapshots } = fake.engine.machines;
  await create(fake, 'deb');
  fake.disks.fail = (operation, id) =>
    operation === 'takeSnapshot' && id === 'deb-vdb'
      ? Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
      : undefined;
  await assert.rejects(snapshots.take('deb', { ...bare, name: 'a' }), { code: 'diskFull' });
  assert.deepEqual(fake.disks.get('deb-vda').snapshots, []);
  assert.deepEqual(snapshots.list('deb'), []);
  fake.disks.fail = undefined;
  await snapshots.take('deb', { ...bare, name: 'a' });
});

test('a machine that went half of the way back does not start until it went all of it', async (t) => {
  const fake = await engineFor(t);
  const { machines, containers } = fake.engine;
  await create(fake, 'deb');
  await machines.snapshots.take('deb', { ...bare, name: 'a' });
  fake.disks.fail = (operation, id) =>
    operation === 'revertSnapshot' && id === 'deb-vdb'
      ? isleError('invalidDisk', { why: 'it is damaged' })
      : undefined;
  await assert.rejects(machines.snapshots.revert('deb', 'a', { force: false, start: false }), /damaged/);
  await assert.rejects(containers.start('deb'), /only half of the way back.*snapshot-revert deb a/);
  await assert.rejects(machines.snapshots.take('deb', bare), /only half of the way back/);
  fake.disks.fail = undefined;
  await machines.snapshots.revert('deb', 'a', { force: false, start: true });
  assert.equal(machines.get('deb').state.phase, 'running');
});

test('a running machine is asked itself, and goes back to its memory in another monitor', async (t) => {
  const fake = await engineFor(t);
  const { machines, containers } = fake.engine;
  const id = await create(fake, 'deb');
  await containers.start('deb');
  const { pausedMs, memory } = await machines.snapshots.take('deb', { ...bare, name: 'a', memory: true });
  assert.deepEqual([pausedMs, memory], [1, true]);
  for (const disk of ['deb-vda', 'deb-vdb']) await fake.disks.takeSnapshot(disk, 'a');
  assert.ok(fake.world.calls.includes(`takeSnapshot a ${id}`));
  await assert.rejects(machines.snapshots.revert('deb', 'a', { force: false, start: false }), /is running/);
  const { startedAt } = machines.get('deb').state;
  await machines.snapshots.revert('deb', 'a', { force: true, start: false });
  assert.equal(machines.get('deb').state.phase, 'running');
  assert.notEqual(machines.get('deb').state.startedAt, startedAt);
  assert.deepEqual(hardwareGiven(fake, id)?.restoreFrom, { snapshot: 'a' });
  await containers.stop('deb', {});
  await containers.start('deb');
  assert.equal(hardwareGiven(fake, id)?.restoreFrom, undefined, 'another start boots');
  await containers.pause('deb');
  await assert.rejects(machines.snapshots.take('deb', bare), /is suspended/);
  await assert.rejects(machines.snapshots.remove('deb', 'a'), /is suspended/);
  await containers.unpause('deb');
  await machines.snapshots.remove('deb', 'a');
  assert.ok(fake.world.calls.includes(`removeSnapshot ${id}`));
});

test('what was saved is continued once, with the hardware that it had', async (t) => {
  const fake = await engineFor(t);
  const { machines, containers } = fake.engine;
  const id = await create(fake, 'deb', { vcpus: 2 });
  await containers.start('deb');
  await machines.edit('deb', { vcpus: 4 });
  await machines.save('deb');
  const { state, spec } = machines.get('deb');
  assert.deepEqual([state.phase, state.stoppedByUser, spec.machine.saved], ['exited', true, true]);
  await containers.start('deb');
  const given = hardwareGiven(fake, id);
  assert.deepEqual(given?.restoreFrom, { path: join(fake.options.dataRoot, 'machines', id, 'saved') });
  assert.equal(given?.spec.vcpus, 2);
  assert.equal(machines.get('deb').spec.machine.vcpus, 4, 'for the next boot');
  await machines.save('deb');
  await machines.discardSaved('deb');
  await containers.start('deb');
  assert.deepEqual(
    [hardwareGiven(fake, id)?.restoreFrom, hardwareGiven(fake, id)?.spec.vcpus],
    [undefined, 4],
  );
  fake.world.fail = (operation) =>
    operation === 'save' ? isleError('guestFailed', { what: 'save', detail: 'no' }) : undefined;
  await assert.rejects(machines.save('deb'), { code: 'guestFailed' });
  fake.world.fail = undefined;
  assert.deepEqual(
    [machines.get('deb').state.phase, machines.get('deb').spec.machine.saved],
    ['running', undefined],
  );
});

test('a clone is somebody else', async (t) => {
  const fake = await engineFor(t);
  const { machines, containers } = fake.engine;
  const cloudInit = { sshKeys: [], instanceId: 'old', metaData: 'instance-id: old\nlocal-hostname: deb\n' };
  const id = await create(fake, 'deb', { cloudInit, tpm: true });
  await machines.snapshots.take('deb', { ...bare, name: 'a' });
  const full = await machines.clone('deb', { name: 'full', linked: false, ports: true });
  assert.match(full.warnings.join(), /its TPM is new/);
  const [was, is] = [machines.get('deb'), machines.get('full')];
  assert.notEqual(is.spec.machine.uuid, was.spec.machine.uuid);
  assert.notEqual(is.spec.machine.cloudInit?.instanceId, 'old');
  assert.equal(
    is.spec.machine.cloudInit?.metaData,
    `instance-id: ${is.spec.machine.cloudInit?.instanceId}\nlocal-hostname: deb\n`,
  );
  assert.deepEqual([is.spec.machine.snapshots, is.spec.machine.cloudInit?.freshMachineId], [[], true]);
  assert.deepEqual(
    is.spec.machine.disks.map(({ diskId }) => diskId),
    ['full-vda', 'full-vdb'],
  );
  assert.equal(fake.disks.get('full-vda').owner, is.id);
  await machines.clone('deb', { name: 'then', linked: false, snapshot: 'a', ports: true });
  await assert.rejects(machines.clone('deb', { linked: true, snapshot: 'a', ports: true }), /is a full one/);
  await assert.rejects(machines.clone('deb', { name: 'full', linked: true, ports: true }), {
    code: 'nameInUse',
  });
  await containers.start('deb');
  await machines.clone('deb', { name: 'linked', linked: true, ports: true });
  assert.ok(fake.world.calls.includes(`pivotDisks ${id}`));
  assert.equal(fake.disks.get('linked-vda').base, 'deb-vda');
  await assert.rejects(machines.remove('deb', { force: true, disks: true }), /"linked" stands on them/);
  fake.disks.fail = (operation, disk) =>
    operation === 'clone' && disk === 'no-vdb' ? isleError('invalidDisk', { why: 'no' }) : undefined;
  await assert.rejects(machines.clone('deb', { name: 'no', linked: true, ports: true }), {
    code: 'invalidDisk',
  });
  assert.ok(!fake.disks.list().some((disk) => disk.id.startsWith('no-')));
  assert.throws(() => machines.get('no'), { code: 'noSuchMachine' });
});

test('what the TPM keeps goes back with the rest; links and heaps of a monitor’s are not followed', async (t) => {
  const fake = await engineFor(t);
  const { snapshots } = fake.engine.machines;
  const id = await create(fake, 'deb', { tpm: true });
  const tpm = join(fake.options.dataRoot, 'machines', id, 'tpm');
  await mkdir(tpm);
  await writeFile(join(tpm, 'tpm2-00.permall'), 'first');
  await symlink('/etc/shadow', join(tpm, 'link'));
  execFileSync('mkfifo', [join(tpm, 'fifo')]);
  await snapshots.take('deb', { ...bare, name: 'a' });
  await writeFile(join(tpm, 'tpm2-00.permall'), 'later');
  await snapshots.revert('deb', 'a', { force: false, start: false });
  assert.equal(await readFile(join(tpm, 'tpm2-00.permall'), 'utf8'), 'first');
  assert.ok(!existsSync(join(tpm, 'link')) && !existsSync(join(tpm, 'fifo')));
  await writeFile(join(tpm, 'heap'), Buffer.alloc(5 * 1024 * 1024));
  await assert.rejects(snapshots.take('deb', { ...bare, name: 'b' }), /more than 32 files or/);
  assert.deepEqual(fake.disks.get('deb-vda').snapshots, ['a']);
});

test('with real files: the disks hold what they held, and the NVRAM, too', async (t) => {
  const base = await fakeEngine({}, undefined, withMachines);
  const disks = createDisks({ dataRoot: base.options.dataRoot, log: silentLog() });
  const fake = await fakeEngine({ dataRoot: base.options.dataRoot, disks }, undefined, withMachines);
  t.after(async () => {
    await fake.close();
    await base.close();
  });
  const { machines } = fake.engine;
  const id = await create(fake, 'deb', { firmware: 'uefi' });
  const nvram = join(fake.options.dataRoot, 'machines', id, 'nvram.qcow2');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', nvram, '1M']);
  const files = [disks.files('deb-vda').path, disks.files('deb-vdb').path, nvram];
  const write = (path: string, pattern: number) =>
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -q -P ${pattern} 0 4096`, path]);
  const holds = (path: string, pattern: number) =>
    !/Pattern verification failed/.test(
      execFileSync('qemu-io', ['-f', 'qcow2', '-c', `read -P ${pattern} 0 4096`, path], { encoding: 'utf8' }),
    );
  for (const file of files) write(file, 1);
  await machines.snapshots.take('deb', { ...bare, name: 'a' });
  for (const file of files) write(file, 2);
  await machines.clone('deb', { name: 'then', linked: false, snapshot: 'a', ports: true });
  await machines.clone('deb', { name: 'now', linked: true, ports: true });
  await machines.snapshots.revert('deb', 'a', { force: false, start: false });
  for (const file of [disks.files('deb-vda').path, disks.files('deb-vdb').path, nvram])
    assert.ok(holds(file, 1), file);
  assert.ok(holds(disks.files('then-vda').path, 1));
  const { id: then } = machines.get('then');
  assert.ok(holds(join(fake.options.dataRoot, 'machines', then, 'nvram.qcow2'), 1));
  await machines.snapshots.remove('deb', 'a');
  assert.deepEqual(disks.get('deb-vda').snapshots, []);
  await machines.remove('now', { force: true, disks: true });
  await machines.remove('deb', { force: true, disks: true });
  assert.deepEqual(
    disks.list().filter(({ id }) => /^(now|deb)-/.test(id)),
    [],
  );
});
