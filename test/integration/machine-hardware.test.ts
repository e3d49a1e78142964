import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Workload } from '../../src/engine/runtime.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { machineDisk, machineFixture, type MachineFixture, makeDisk, tinySpec } from '../fixtures/machine.ts';

const MiB = 1024 * 1024;

let machines: MachineFixture;
before(async () => {
  machines = await machineFixture();
});
after(async () => await machines.dispose());

/** Waits until a command in the guest says what is expected. */
async function says(workload: Workload, command: string, expected: RegExp): Promise<void> {
  let said = '';
  for (const late = Date.now() + 90_000; Date.now() < late; await sleep(500)) {
    said = await machines.type(workload, command);
    if (expected.test(said)) return;
  }
  assert.fail(`${command}: ${said}`);
}

test('what a confined machine is given while it runs stays over a restart of the daemon, a migration and a saved memory', async () => {
  const workload = await machines.up(
    tinySpec({
      disks: [machineDisk({ limits: { writeBps: 5_000_000 } })],
      cdroms: [{ target: 'sdb' }],
      maxVcpus: 2,
      memory: 192 * MiB,
      maxMemory: 512 * MiB,
    }),
  );
  const { id } = workload;
  const place = join(machines.directory, 'clone');
  const base = join(place, 'base.qcow2');
  const over = join(place, 'over.qcow2');
  makeDisk(base, 'qcow2', 64);
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x61 0 4k', base], { stdio: 'ignore' });
  execFileSync('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', base, '-F', 'qcow2', over, '64M']);
  const disk = machineDisk({ target: 'vdb', limits: { readIops: 1000 } });
  await machines.runtime.machines.plugDisk(id, disk, { path: over, chain: [base] });
  await says(workload, 'coldplug; head -c 3 /dev/vdb', /aaa/);
  await machines.type(workload, 'echo written > /dev/vdb; sync');
  await machines.restart();
  const control = machines.runtime.machines;
  await control.resizeDisk(id, 'vdb', 96 * MiB);
  await says(workload, 'cat /sys/block/vdb/size', /196608/);
  await control.limitDisk(id, 'vdb', {});
  assert.deepEqual(
    (await control.info(id)).disks.map(({ target }) => target),
    ['vda', 'vdb'],
  );
  await control.setVcpus(id, 2);
  await says(
    workload,
    'for c in /sys/devices/system/cpu/cpu[0-9]*/online; do echo 1 > $c; done 2>/dev/null; nproc',
    /2/,
  );
  const iso = join(machines.directory, 'a.iso');
  writeFileSync(iso, Buffer.alloc(64 * 1024));
  await control.changeMedium(id, 'sdb', iso);
  await control.changeMedium(id, 'sdb', undefined);
  await machines.type(
    workload,
    'echo online > /sys/devices/system/memory/auto_online_blocks; (while sleep 1; do coldplug; done) >/dev/null 2>&1 & true',
  );
  await control.setMemory(id, 256 * MiB);
  const info = await control.info(id);
  assert.deepEqual([info.vcpus, info.memory], [2, 256 * MiB]);
  // Another QEMU has all of it in the same places: at once, and after a saved memory.
  await machines.type(workload, 'mkdir -p /tmp/kept; echo here > /tmp/kept/file');
  await control.migrate(id, { signal: AbortSignal.timeout(300_000) });
  assert.match(
    await machines.type(workload, 'head -c 7 /dev/vdb; nproc; cat /tmp/kept/file'),
    /written\n?2\s+here/,
  );
  const path = join(workload.machine.directory, 'saved');
  await control.save(id, path);
  await machines.runtime.wait(id);
  await machines.runtime.delete(id);
  const { spec, disks, directory } = workload.machine;
  await machines.runtime.create({
    ...workload,
    machine: {
      spec: { ...spec, disks: [...spec.disks, disk], vcpus: 2, memory: 256 * MiB },
      disks: [...disks, { path: over, chain: [base] }],
      directory,
      restoreFrom: { path },
    },
  });
  await machines.runtime.start(id);
  assert.match(
    await machines.type(workload, 'head -c 7 /dev/vdb; nproc; cat /tmp/kept/file'),
    /written\n?2\s+here/,
  );
  await control.setMemory(id, 320 * MiB);
  await control.unplugDisk(id, 'vdb');
  await says(workload, 'ls -d /sys/block/vdb 2>/dev/null || echo gone', /gone/);
  // Nothing of it is seen inside any more, and its owner is who it was.
  assert.equal(statSync(over).uid, 0);
  assert.match(
    execFileSync('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -v 0 16', over]).toString(),
    /written/,
  );
  await assert.rejects(
    control.plugDisk(id, machineDisk({ target: 'vda' }), { path: over, chain: [] }),
    (error) => isIsleError(error, 'conflict'),
  );
  await machines.runtime.signal(id, 9);
  await machines.runtime.wait(id);
  await machines.runtime.delete(id);
});
