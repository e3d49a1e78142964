import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle } from '../fixtures/command-line.ts';
import { type ServedMachines, serveMachines } from '../fixtures/fake-machines.ts';

describe('isle vm changes hardware in virsh’s words', { concurrency: false }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-vm-hardware-'));
  const host = join(directory, 'docker.sock');
  let served: ServedMachines;
  before(async () => {
    served = await serveMachines(host);
    await ok('create web --memory 256,maxmemory=1024 --vcpus 2,maxvcpus=4 --disk size=1 --disk device=cdrom');
  });
  after(async () => {
    await served.close();
    rmSync(directory, { recursive: true });
  });
  const vm = async (line: string) => await isle(host, ['vm', ...line.split(' ')]);
  const ok = async (line: string) => {
    const outcome = await vm(line);
    assert.equal(outcome.code, 0, `${line}: ${outcome.stderr}`);
    return outcome.stdout;
  };
  const machine = () => served.fake.engine.machines.get('web').spec.machine;

  test('disks', async () => {
    assert.equal(await ok('attach-disk web size=2'), 'vdb\n');
    assert.equal(await ok('attach-disk web size=1 sdc --live --config --serial abc'), 'sdc\n');
    assert.deepEqual(
      machine().disks.map(({ target, bus, serial }) => [target, bus, serial]),
      [
        ['vda', 'virtio', undefined],
        ['vdb', 'virtio', undefined],
        ['sdc', 'scsi', 'abc'],
      ],
    );
    await ok('blockresize web vdb 3G');
    await ok('blkdeviotune web vdb --write-bytes-sec 10M --read_iops_sec 500');
    await ok('blkdeviotune web vdb --write-iops-sec 100');
    assert.match(
      await ok('blkdeviotune web vdb'),
      /write_bytes_sec: 10485760\nread_iops_sec {2}: 500\nwrite_iops_sec : 100/,
    );
    assert.match(await ok('vol-list'), /web-vdb +web +qcow2/);
    await ok('detach-disk web vdb');
    assert.match((await vm('vol-delete web-vda')).stderr, /belongs to the machine "web"/);
    await ok('vol-resize web-vdb 4G');
    await ok('detach-disk --remove web sdc');
    assert.equal(await ok('vol-delete web-vdb'), 'web-vdb\n');
    assert.match(await ok('vol-list -q'), /^web-vda\n$/);
    const wrong = await vm('detach-disk web vdq');
    assert.deepEqual([wrong.code, /no disk vdq: it has vda/.test(wrong.stderr)], [1, true]);
  });

  test('CDs', async () => {
    const [{ target } = { target: '' }] = machine().cdroms;
    const iso = join(directory, 'a.iso');
    writeFileSync(iso, 'x');
    await ok(`change-media web ${target} ${iso} --update`);
    assert.equal(machine().cdroms[0]?.path, iso);
    await ok(`change-media web ${target} --eject`);
    assert.equal(machine().cdroms[0]?.path, undefined);
    await ok(`change-media web ${iso}`);
    assert.match((await vm('change-media web vda --eject')).stderr, /no CD drive vda|takes no file/);
  });

  test('processors and memory', async () => {
    await ok('setvcpus web 3');
    await ok('setmem web 512M --live');
    assert.deepEqual([machine().vcpus, machine().memory], [3, 512 * 2 ** 20]);
    await ok('setmem web 524288');
    assert.equal(machine().memory, 2 ** 29);
    await ok('setvcpus web 4 --config');
    await ok('setvcpus web 8 --config --maximum');
    await ok('setmaxmem web 2G');
    assert.deepEqual([machine().vcpus, machine().maxVcpus, machine().maxMemory], [4, 8, 2 ** 31]);
    assert.equal((await vm('setvcpus web many')).code, 1);
    assert.match((await vm('setvcpus web 9')).stderr, /maximum of vCPUs/);
  });
});
