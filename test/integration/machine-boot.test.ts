import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  addInterface,
  machineDisk,
  machineFixture,
  type MachineFixture,
  tinySpec,
} from '../fixtures/machine.ts';

let machines: MachineFixture;
before(async () => {
  machines = await machineFixture();
});
after(async () => await machines.dispose());

test('a machine boots a kernel, has its disk and its network card, and powers off with code 0', async () => {
  const { runtime } = machines;
  const workload = await machines.workload(tinySpec({ disks: [machineDisk()] }));
  addInterface(workload.netns!);
  await runtime.create(workload);
  await runtime.start(workload.id);
  await machines.console(workload, 'tiny login:');
  assert.match(await machines.type(workload, 'ls /sys/class/net'), /\beth0\b/);
  assert.equal(
    (await machines.type(workload, 'cat /sys/block/vda/size')).trim(),
    String((64 * 1024 * 1024) / 512),
  );
  const info = await runtime.machines.info(workload.id);
  assert.deepEqual(
    info.disks.map(({ target, virtualSize }) => [target, virtualSize]),
    [['vda', 64 * 1024 * 1024]],
  );
  assert.equal(info.vcpus, 1);
  await runtime.machines.shutdown(workload.id);
  const exit = await machines.ended(workload);
  assert.deepEqual([exit.code, exit.power, exit.reason], [0, 'off', undefined]);
  await runtime.delete(workload.id);
});
