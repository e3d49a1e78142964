import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeEngine, withMachines } from '../../../test/fixtures/fake-engine.ts';
import { diskRequest, machineRequest } from '../../../test/fixtures/machine-request.ts';
import { isleError } from '../../lib/errors.ts';

const mebibyte = 1024 * 1024;

async function machineFor(t: { after(fn: () => Promise<void>): void }, running: boolean) {
  const fake = await fakeEngine({}, undefined, withMachines);
  const directory = await mkdtemp(join(tmpdir(), 'isle-hardware-'));
  t.after(async () => {
    await fake.close();
    await rm(directory, { recursive: true });
  });
  const { machines, containers } = fake.engine;
  const request = machineRequest({ maxVcpus: 4, cdroms: [{ target: 'sda' }] }, [diskRequest()]);
  const { id } = await machines.create('web', request);
  if (running) await containers.start(id);
  const { disks } = fake.options;
  return { fake, machines, containers, disks, id, directory, spec: () => machines.get(id).spec.machine };
}

for (const running of [false, true])
  test(`disks are attached, resized, limited and detached while it ${running ? 'runs' : 'is off'}`, async (t) => {
    const { machines, disks, id, spec } = await machineFor(t, running);
    const { hardware } = machines;
    assert.deepEqual(await hardware.attachDisk('web', diskRequest()), { target: 'vdb' });
    assert.equal(disks.get('web-vdb').owner, id);
    assert.deepEqual(
      spec().disks.map(({ target }) => target),
      ['vda', 'vdb'],
    );
    await assert.rejects(
      hardware.attachDisk('web', diskRequest(undefined, { target: 'vdb' })),
      /two disks have the target vdb/,
    );
    if (!running) {
      await hardware.resizeDisk('web', 'vdb', 8 * mebibyte);
      assert.equal(disks.get('web-vdb').size, 8 * mebibyte);
    }
    await hardware.limitDisk('web', 'vdb', { readBps: 1000 });
    assert.deepEqual(spec().disks[1]?.limits, { readBps: 1000 });
    await assert.rejects(hardware.limitDisk('web', 'vdb', { readBps: -1 }), /readBps of vdb/);
    await hardware.detachDisk('web', 'vdb', { remove: false });
    assert.equal(disks.get('web-vdb').owner, undefined);
    await hardware.attachDisk('web', diskRequest({ kind: 'disk', disk: 'web-vdb', linked: false }));
    await hardware.detachDisk('web', 'vdb', { remove: true });
    assert.deepEqual(
      disks.list().map((disk) => disk.id),
      ['web-vda'],
    );
    await assert.rejects(hardware.detachDisk('web', 'vdx', { remove: false }), /no disk vdx: it has vda/);
  });

test('a disk that the guest does not take is gone again, record and file', async (t) => {
  const { fake, machines, disks, spec } = await machineFor(t, true);
  fake.world.fail = (operation) =>
    operation === 'plugDisk vdb' ? isleError('conflict', { message: 'no slot left' }) : undefined;
  await assert.rejects(machines.hardware.attachDisk('web', diskRequest()), /no slot left/);
  assert.deepEqual(
    spec().disks.map(({ target }) => target),
    ['vda'],
  );
  assert.deepEqual(
    disks.list().map(({ id }) => id),
    ['web-vda'],
  );
});

test('a disk that the guest keeps stays attached', async (t) => {
  const { fake, machines, disks, id, spec } = await machineFor(t, true);
  fake.world.fail = (operation) =>
    operation === 'unplugDisk vda'
      ? isleError('conflict', { message: 'the guest does not let go' })
      : undefined;
  await assert.rejects(machines.hardware.detachDisk('web', 'vda', { remove: true }), /does not let go/);
  assert.deepEqual(
    spec().disks.map(({ target }) => target),
    ['vda'],
  );
  assert.equal(disks.get('web-vda').owner, id);
});

test('a disk on which a clone stands, or that a file of the user is, is not removed', async (t) => {
  const { machines, disks, directory } = await machineFor(t, false);
  await disks.clone('other', 'web-vda', { linked: true });
  await assert.rejects(
    machines.hardware.detachDisk('web', 'vda', { remove: true }),
    /the disk other stands on/,
  );
  const path = join(directory, 'mine.raw');
  await writeFile(path, Buffer.alloc(mebibyte));
  await machines.hardware.attachDisk('web', diskRequest({ kind: 'file', path, format: 'raw' }));
  await assert.rejects(machines.hardware.detachDisk('web', 'vdb', { remove: true }), /file of yours/);
  await machines.hardware.detachDisk('web', 'vdb', { remove: false });
  await disks.remove('other');
});

test('media, processors and memory change, within what the machine may have', async (t) => {
  const { machines, directory, spec } = await machineFor(t, true);
  const { hardware } = machines;
  const iso = join(directory, 'a.iso');
  await writeFile(iso, 'a');
  await hardware.changeMedium('web', 'sda', iso);
  assert.deepEqual(spec().cdroms, [{ target: 'sda', path: iso }]);
  await hardware.changeMedium('web', 'sda', undefined);
  assert.deepEqual(spec().cdroms, [{ target: 'sda' }]);
  await assert.rejects(hardware.changeMedium('web', 'vda', iso), /no CD drive vda: it has sda/);
  await assert.rejects(hardware.changeMedium('web', 'sda', join(directory, 'none')), /there is no such file/);
  await hardware.setVcpus('web', 3);
  assert.equal(spec().vcpus, 3);
  await assert.rejects(hardware.setVcpus('web', 5), /maximum of vCPUs is below/);
  await hardware.setMemory('web', 48 * mebibyte);
  assert.equal(spec().memory, 48 * mebibyte);
  await assert.rejects(hardware.setMemory('web', 1), /whole MiB/);
});

test('a suspended or saved machine keeps the hardware it has', async (t) => {
  const { machines, containers, id } = await machineFor(t, true);
  await containers.pause(id);
  await assert.rejects(machines.hardware.attachDisk('web', diskRequest()), /is suspended/);
  await containers.unpause(id);
  await containers.stop(id, {});
});

test('the store says whose its disks are, and gives up those that are nobody’s', async (t) => {
  const { machines } = await machineFor(t, false);
  const { storage } = machines;
  assert.deepEqual(
    (await storage.list()).map(({ id, machine }) => [id, machine]),
    [['web-vda', 'web']],
  );
  await assert.rejects(storage.remove('web-vda'), /belongs to the machine "web"/);
  await assert.rejects(storage.resize('web-vda', 8 * mebibyte, { shrink: false }), /belongs to a machine/);
  await machines.hardware.detachDisk('web', 'vda', { remove: false });
  await storage.resize('web-vda', 8 * mebibyte, { shrink: false });
  await storage.remove('web-vda');
  assert.deepEqual(await storage.list(), []);
});
