import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as nextTurn } from 'node:timers/promises';
import type { FakeDisks } from '../../../test/fixtures/fake-disks.ts';
import { type FakeEngine, fakeEngine, specOf, withMachines } from '../../../test/fixtures/fake-engine.ts';
import { diskRequest, machineRequest } from '../../../test/fixtures/machine-request.ts';
import { isleError } from '../../lib/errors.ts';
import type { DiskRequest, MachineRequest } from '../machines.ts';

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;

type Context = { after(fn: () => Promise<void>): void };

async function engineFor(t: Context): Promise<FakeEngine & { disks: FakeDisks; directory: string }> {
  const fake = await fakeEngine({}, undefined, withMachines);
  const directory = await mkdtemp(join(tmpdir(), 'isle-machines-'));
  t.after(async () => {
    await fake.close();
    await rm(directory, { recursive: true });
  });
  return Object.assign(fake, { disks: fake.options.disks as FakeDisks, directory });
}

async function create(
  fake: FakeEngine,
  name: string,
  disks: DiskRequest[] = [diskRequest()],
  hardware: Partial<MachineRequest['hardware']> = {},
  container: Partial<MachineRequest['container']> = {},
): Promise<string> {
  return (await fake.engine.machines.create(name, machineRequest(hardware, disks, container))).id;
}

async function rawFile(directory: string, name: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, '');
  await truncate(path, mebibyte);
  return path;
}

test('disks and CDs get the names that a Linux guest gives them', async (t) => {
  const fake = await engineFor(t);
  await create(
    fake,
    'web',
    [
      diskRequest(),
      diskRequest(undefined, { bus: 'sata' }),
      diskRequest(undefined, { target: 'vda' }),
      diskRequest(undefined, { bus: 'nvme' }),
    ],
    { cdroms: [{ target: '' }] },
  );
  const { disks, cdroms } = fake.engine.machines.get('web').spec.machine;
  assert.deepEqual(
    disks.map(({ target }) => target),
    ['vdb', 'sda', 'vda', 'nvme0n1'],
  );
  assert.deepEqual(cdroms, [{ target: 'sdb' }]);
  assert.deepEqual(
    fake.disks.list().map(({ id, owner }) => [id, owner === fake.engine.machines.get('web').id]),
    [
      ['web-vdb', true],
      ['web-sda', true],
      ['web-vda', true],
      ['web-nvme0n1', true],
    ],
  );
});

test('a create that fails leaves no disk, no directory and no name', async (t) => {
  const fake = await engineFor(t);
  fake.disks.fail = (operation, id) =>
    operation === 'create' && id === 'web-vdb'
      ? Object.assign(new Error('ENOSPC: no space'), { code: 'ENOSPC' })
      : undefined;
  await assert.rejects(
    create(fake, 'web', [diskRequest(), diskRequest()]),
    /no space left on the disk that holds .* while creating machine web/,
  );
  assert.deepEqual(fake.disks.list(), []);
  assert.deepEqual(fake.engine.machines.list(), []);
  fake.disks.fail = undefined;
  const id = await create(fake, 'web');
  assert.ok(existsSync(join(fake.options.dataRoot, 'machines', id)));
});

test('one file for two machines is refused, whatever it is called', async (t) => {
  const fake = await engineFor(t);
  const path = await rawFile(fake.directory, 'disk.raw');
  const link = join(fake.directory, 'link');
  await symlink(path, link);
  const file = (name: string, more: Partial<DiskRequest> = {}) =>
    diskRequest({ kind: 'file', path: name, format: 'raw' }, more);
  await create(fake, 'one', [file(path)]);
  await assert.rejects(create(fake, 'two', [file(path)]), /is the disk vda of the machine "one"/);
  await assert.rejects(create(fake, 'two', [file(link)]), /is the disk vda of the machine "one"/);
  const shared = await rawFile(fake.directory, 'shared.raw');
  await create(fake, 'three', [file(shared, { readOnly: true })]);
  await create(fake, 'four', [file(shared, { readOnly: true })]);
  await assert.rejects(create(fake, 'five', [file(shared), file(shared)]), /of the machine "(three|four)"/);
  const twice = await rawFile(fake.directory, 'twice.raw');
  await assert.rejects(create(fake, 'five', [file(twice), file(twice)]), /vda and vdb are the same/);
});

test('a file that is not of the format that was said is refused before a guest sees it', async (t) => {
  const fake = await engineFor(t);
  const path = join(fake.directory, 'disk');
  const asRaw = diskRequest({ kind: 'file', path, format: 'raw' });
  await writeFile(path, '');
  await assert.rejects(create(fake, 'web', [asRaw]), /looks like an empty file/);
  for (const [format, head] of [
    ['qcow2', 'QFI\xfb'],
    ['vmdk', 'KDMV'],
    ['vhdx', 'vhdxfile'],
  ] as const) {
    await writeFile(path, Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(4096)]));
    await assert.rejects(
      create(fake, 'web', [asRaw]),
      new RegExp(`said to be raw, but looks like ${format}`),
    );
  }
  await writeFile(path, Buffer.alloc(4096));
  const asQcow2 = diskRequest({ kind: 'file', path, format: 'qcow2' });
  await assert.rejects(create(fake, 'web', [asQcow2]), /said to be qcow2, but does not begin as one/);
  const header = Buffer.alloc(4096);
  header.write('QFI\xfb', 'latin1');
  header.writeUInt32BE(3, 4);
  header.writeBigUInt64BE(200n, 8); // the offset of a backing file's name
  await writeFile(path, header);
  await assert.rejects(create(fake, 'web', [asQcow2]), /it has a backing file/);
  await writeFile(path, Buffer.alloc(4096));
  await create(fake, 'web', [asRaw]);
});

test('of two creates at once that want one file, one wins', async (t) => {
  const fake = await engineFor(t);
  const path = await rawFile(fake.directory, 'disk.raw');
  const file = () => diskRequest({ kind: 'file', path, format: 'raw' });
  const made = await Promise.allSettled([create(fake, 'one', [file()]), create(fake, 'two', [file()])]);
  assert.deepEqual(made.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
  assert.equal(fake.engine.machines.list().length, 1);
});

test('the files of Isle itself are nobody else’s disks', async (t) => {
  const fake = await engineFor(t);
  const inside = await rawFile(fake.options.dataRoot, 'isle.db');
  const file = diskRequest({ kind: 'file', path: inside, format: 'raw' });
  await assert.rejects(create(fake, 'web', [file]), /which is Isle's own/);
  await assert.rejects(
    create(fake, 'web', [diskRequest({ kind: 'file', path: '/dev/null', format: 'raw' })]),
    /is no file or block device/,
  );
});

test('a disk of the store belongs to one machine; one that was kept is taken up by the next', async (t) => {
  const fake = await engineFor(t);
  await create(fake, 'one');
  const kept = diskRequest({ kind: 'disk', disk: 'one-vda', linked: false });
  await assert.rejects(create(fake, 'two', [kept]), /belongs to the machine "one".*isle vm clone one/);
  await fake.engine.machines.remove('one', { force: false, disks: false });
  assert.deepEqual(
    fake.disks.list().map(({ owner }) => owner),
    [undefined],
  );
  await create(fake, 'two', [kept]);
  assert.deepEqual(fake.engine.machines.get('two').spec.machine.disks[0]?.diskId, 'one-vda');
  await fake.engine.machines.remove('two', { force: false, disks: true });
  assert.deepEqual(fake.disks.list(), []);
});

test('the base of a linked clone stays until the clone is gone', async (t) => {
  const fake = await engineFor(t);
  await create(fake, 'base');
  await fake.engine.machines.remove('base', { force: false, disks: false });
  await create(fake, 'clone', [
    diskRequest({ kind: 'disk', disk: 'base-vda', linked: true, size: 9 * mebibyte }),
  ]);
  assert.equal(fake.disks.get('clone-vda').size, 9 * mebibyte);
  await create(fake, 'keeper', [diskRequest({ kind: 'disk', disk: 'base-vda', linked: false })]);
  await fake.engine.containers.start('keeper');
  await assert.rejects(
    fake.engine.machines.remove('keeper', { force: true, disks: true }),
    /cannot remove the disks of "keeper": the machine "clone" stands on them/,
  );
  assert.equal(fake.engine.machines.get('keeper').state.phase, 'running');
  await fake.engine.machines.remove('clone', { force: false, disks: true });
  await fake.engine.machines.remove('keeper', { force: true, disks: true });
  assert.deepEqual(fake.disks.list(), []);
});

test('a start gives the runtime what it needs, and claims the disks', async (t) => {
  const fake = await engineFor(t);
  const path = await rawFile(fake.directory, 'data.raw');
  const id = await create(fake, 'web', [diskRequest(), diskRequest({ kind: 'file', path, format: 'raw' })]);
  await fake.engine.containers.start('web');
  const { workload } = fake.world.workloads.get(id)!;
  const directory = join(fake.options.dataRoot, 'machines', id);
  assert.deepEqual(
    [workload.rootfs, workload.args, workload.mounts, workload.machine?.directory],
    ['', [], [], directory],
  );
  assert.deepEqual(workload.machine?.disks, [
    { path: join(fake.options.dataRoot, 'disks', 'web-vda', 'disk.qcow2'), chain: [] },
    { path, chain: [] },
  ]);
  assert.equal(workload.machine?.restoreFrom, undefined);
  await fake.engine.containers.stop('web', {});
  await rm(path);
  await assert.rejects(fake.engine.containers.start('web'), /the disk vdb: .*there is no such file/);
});

test('a disk that the store lost keeps its machine from starting, not from going', async (t) => {
  const fake = await engineFor(t);
  await create(fake, 'web');
  fake.disks.byId.clear();
  await assert.rejects(fake.engine.containers.start('web'), {
    code: 'conflict',
    message: /web-vda.*not in the store any more.*isle vm detach-disk web vda/,
  });
  assert.deepEqual(
    (await fake.engine.machines.disks('web')).map(({ virtual }) => virtual),
    [0],
  );
  await fake.engine.machines.remove('web', { force: false, disks: true });
});

test('a guest that powers itself off stays off; one that is stopped ends well', async (t) => {
  const fake = await engineFor(t);
  const policy = { name: 'always', maximumRetryCount: 0 } as const;
  const id = await create(fake, 'web', [], {}, { restartPolicy: policy });
  await fake.engine.containers.start(id);
  const { exit } = fake.engine.containers.wait(id, 'not-running', never);
  await fake.engine.machines.shutdown('web');
  assert.deepEqual(await exit, { code: 0 });
  const { state } = fake.engine.machines.get('web');
  assert.deepEqual([state.phase, state.stoppedByUser], ['exited', true]);
});

test('one that crashes comes up again by its policy', async (t) => {
  const fake = await engineFor(t);
  const policy = { name: 'on-failure', maximumRetryCount: 1 } as const;
  const id = await create(fake, 'web', [], {}, { restartPolicy: policy });
  await fake.engine.containers.start(id);
  const restarted = new Promise<void>((resolve) => {
    fake.engine.events.subscribe({ filters: { event: ['start'] } }, () => resolve());
  });
  fake.world.workloads.get(id)!.process.signal(9);
  await restarted;
  assert.equal(fake.engine.machines.get(id).state.phase, 'running');
  assert.equal(fake.engine.machines.get(id).state.restartCount, 1);
});

test('a restart of the daemon finds machines running, and starts those that shall', async (t) => {
  const fake = await fakeEngine({}, undefined, withMachines);
  const running = await create(fake, 'running');
  const auto = await create(fake, 'auto', [], {}, { labels: { 'isle.autostart': '2' } });
  await create(fake, 'off', []);
  await fake.engine.containers.start(running);
  await fake.engine.containers.start(auto);
  fake.world.workloads.delete(auto); // the host went down under it, and came up again
  const host = await fake.restart();
  const machine = host.engine.machines.get('running');
  assert.equal(machine.state.phase, 'running');
  assert.notEqual(await host.engine.machines.info('running'), undefined);
  assert.equal(host.engine.machines.get('off').state.phase, 'created');
  assert.equal(host.engine.machines.get('auto').state.exitCode, 255);
  const again = await host.restart();
  t.after(() => again.close());
  while (again.engine.machines.get('auto').state.phase !== 'running') await nextTurn();
  assert.equal(again.options.disks.get('running-vda').owner, running);
});

test('machines and containers that start with the engine do so in one order', async (t) => {
  const fake = await fakeEngine({}, undefined, withMachines);
  const ids: string[] = [];
  for (const [name, order] of [
    ['last', '3'],
    ['first', '1'],
  ] as const)
    ids.push(await create(fake, name, [], {}, { labels: { 'isle.autostart': order } }));
  const labels = { 'isle.autostart': '2' };
  ids.push((await fake.engine.containers.create('box', specOf(['sleep', '99'], { labels }))).id);
  for (const id of ids) await fake.engine.containers.start(id);
  await fake.engine.containers.stopAll();
  fake.world.calls.length = 0;
  const again = await fake.restart();
  t.after(() => again.close());
  const up = () => again.engine.containers.list().filter(({ state }) => state.phase === 'running').length;
  while (up() < 3) await nextTurn();
  const [last, first, box] = ids;
  const starts = fake.world.calls.filter((call) => call.startsWith('start '));
  assert.deepEqual(starts, [`start ${first}`, `start ${box}`, `start ${last}`]);
});

test('what was saved is continued once, and not when something may have run meanwhile', async (t) => {
  const fake = await engineFor(t);
  const id = await create(fake, 'web');
  const saved = join(fake.options.dataRoot, 'machines', id, 'saved');
  const save = async () => {
    await writeFile(saved, 'memory');
    const table = fake.store.table<ReturnType<typeof fake.engine.machines.get>>('containers');
    const record = table.get(id)!;
    table.put(id, { ...record, spec: { ...record.spec, machine: { ...record.spec.machine, saved: true } } });
  };
  await save();
  fake.world.fail = (operation) =>
    operation === 'start' ? isleError('internal', { message: 'QEMU did not take it' }) : undefined;
  await assert.rejects(fake.engine.containers.start(id), /did not take it/);
  assert.equal(fake.engine.machines.get(id).spec.machine.saved, true, 'nothing ran: it is still good');
  fake.world.fail = undefined;
  await assert.rejects(fake.engine.machines.edit(id, { vcpus: 3 }), /saved with the hardware it has/);
  await fake.engine.containers.start(id);
  assert.deepEqual(fake.world.workloads.get(id)!.workload.machine?.restoreFrom, { path: saved });
  assert.equal(fake.engine.machines.get(id).spec.machine.saved, undefined);
  await fake.engine.containers.stop(id, {});
  await fake.engine.containers.start(id);
  assert.equal(fake.world.workloads.get(id)!.workload.machine?.restoreFrom, undefined);
  await fake.engine.containers.stop(id, {});
  await save();
  await fake.engine.machines.discardSaved('web');
  assert.equal(existsSync(saved), false);
  await assert.rejects(fake.engine.machines.discardSaved('web'), /no memory of the machine "web" is saved/);
});

test('what has no meaning for a machine is refused with the command that has', async (t) => {
  const fake = await engineFor(t);
  await create(fake, 'web');
  const { containers, snapshots } = fake.engine;
  const refused: [Promise<unknown>, RegExp][] = [
    [containers.commit('web', { author: '', comment: '', pause: false, changes: [] }), /isle vm clone/],
    [containers.export('web'), /isle vm export/],
    [containers.changes('web'), /not compared with an image/],
    [containers.update('web', { resources: { memory: 1e9 } }), /isle vm setmem/],
    [snapshots.take('web', { comment: '' }), /isle vm snapshot-create/],
    [snapshots.restore('web', 'snap0', { restart: false }), /isle vm snapshot-revert/],
    [snapshots.remove('web', 'snap0'), /isle vm snapshot-delete/],
    [snapshots.clone('web', { ports: false }), /isle vm clone/],
    [containers.create('cc', { ...specOf(['sh']), volumesFrom: ['web'] }), /has disks instead of volumes/],
    [
      containers.create('cc', { ...specOf(['sh']), networkMode: 'container:web' }),
      /cannot share the network of container "web"/,
    ],
    [
      containers.create('cc', { ...specOf(['sh']), image: 'not-there', runtime: 'machine' }),
      /isle vm create/,
    ],
  ];
  for (const [call, message] of refused) await assert.rejects(call, message);
  assert.deepEqual(snapshots.list('web'), []);
  await containers.update('web', { resources: { nanoCpus: 1e9 } });
  assert.deepEqual(await containers.size('web'), { rw: 196_608, root: mebibyte, saved: 0 });
});

test('pruning takes containers that are down, and no machine', async (t) => {
  const fake = await engineFor(t);
  await create(fake, 'web');
  const box = await fake.engine.containers.create('box', specOf(['sh']));
  assert.deepEqual((await fake.engine.containers.prune({})).removed, [box.id]);
  assert.equal(fake.engine.machines.list().length, 1);
});

test('hardware that cannot be, and texts that would reach a command line', async (t) => {
  const fake = await engineFor(t);
  const wrong: [Partial<MachineRequest['hardware']>, RegExp][] = [
    [{ memory: 1000 }, /memory must be whole MiB/],
    [{ memory: 64 * mebibyte, maxMemory: 32 * mebibyte }, /maximum of memory is below/],
    [{ vcpus: 0 }, /from 1 to 512, not 0/],
    [{ vcpus: 4, maxVcpus: 2 }, /maximum of vCPUs is below/],
    [{ arch: 'aarch64' }, /a machine for aarch64 is of type virt, not q35/],
    [{ type: 'microvm', firmware: 'uefi' }, /no UEFI/],
    [{ cpuModel: 'host -device x' }, /CPU model cannot be/],
    [{ cpuModel: '-cpu' }, /CPU model cannot be/],
    [{ nicModels: ['virtio,romfile=/etc/shadow'] }, /NIC model cannot be/],
    [{ osVariant: 'debian\n12' }, /OS variant cannot be/],
    [{ pci: ['../../etc'] }, /PCI address cannot be/],
    [{ usb: [{ vendor: 70_000, product: 0 }] }, /no id of a USB device/],
    [{ shares: [{ source: 'etc', tag: 'x', readOnly: true }] }, /must be an absolute path/],
    [{ shares: [{ source: '/etc', tag: 'a,b', readOnly: true }] }, /tag of a shared directory cannot be/],
    [{ cdroms: [{ target: 'sda', path: '/x\ny' }] }, /is no path/],
    [{ cdroms: [{ target: 'nvram' }] }, /cannot be called nvram/],
    [{ cdroms: [{ target: '../x' }] }, /target of a disk cannot be/],
    [{ boot: ['vdz'] }, /cannot boot from "vdz": there are vda/],
    [{ kernel: { path: '/not/there', arguments: '' } }, /the kernel: .*no such file/],
    [{ kernel: { path: '/bin/sh', arguments: 'a\nb' } }, /kernel arguments cannot be/],
    [{ uuid: 'x' }, /UUID cannot be/],
    [{ cloudInit: { sshKeys: ['a\nb'], instanceId: 'i' } }, /SSH key cannot be/],
    [{ cloudInit: { sshKeys: [], instanceId: 'i', user: 'a:b' } }, /the user cannot be/],
  ];
  for (const [hardware, message] of wrong)
    await assert.rejects(create(fake, 'web', [diskRequest()], hardware), message);
  for (const name of ['../x', '-x', 'a b', 'a,b', 'a/b', '$(x)', 'a\n'])
    await assert.rejects(create(fake, name), /Invalid container name/, name);
  const serial = diskRequest(undefined, { serial: 'a,b' });
  await assert.rejects(create(fake, 'web', [serial]), /serial number of vda cannot be/);
  assert.deepEqual(fake.disks.list(), []);
});

test('what a running machine cannot take up is kept for its next start', async (t) => {
  const fake = await engineFor(t);
  const id = await create(fake, 'web');
  await fake.engine.containers.start(id);
  const { machines } = fake.engine;
  assert.deepEqual(await machines.edit('web', { vcpus: 1 }), { atNextStart: [] });
  assert.deepEqual(await machines.edit('web', { vcpus: 2, description: 'of people' }), {
    atNextStart: ['vcpus'],
  });
  assert.deepEqual([(await machines.info('web'))?.vcpus, machines.get('web').spec.machine.vcpus], [1, 2]);
  await assert.rejects(machines.edit('web', { boot: ['vdc'] }), /cannot boot from/);
  await machines.edit('web', { cdroms: [{ target: '' }, { target: 'sda' }] });
  const targets = machines.get('web').spec.machine.cdroms.map(({ target }) => target);
  assert.deepEqual(targets, ['sdb', 'sda']);
});
