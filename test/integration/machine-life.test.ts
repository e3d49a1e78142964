import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { isIsleError } from '../../src/lib/errors.ts';
import { machineFixture, type MachineFixture, tinySpec } from '../fixtures/machine.ts';

let machines: MachineFixture;
before(async () => {
  machines = await machineFixture();
});
after(async () => await machines.dispose());

function processOf(pids: number[], name: string): number {
  const found = pids.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(name));
  assert.ok(found, `a process ${name}`);
  return found;
}

test('a machine outlives its daemon, is paused, reset and started over, and QEMU’s violent end is explained', async () => {
  const workload = await machines.up();
  const { id } = workload;
  assert.match(await machines.type(workload, 'echo 42 >/tmp/mark; cat /tmp/mark'), /42/);

  const runtime = await machines.restart();
  const found = await runtime.recover(id);
  assert.equal(found.state, 'running');
  assert.match(await machines.type(workload, 'cat /tmp/mark'), /42/);

  await runtime.pause(id);
  assert.equal((await runtime.recover(id)).state, 'paused');
  await assert.rejects(
    runtime.exec(id, {
      id: 'x',
      args: ['true'],
      env: [],
      cwd: '',
      user: '',
      tty: false,
      stdin: false,
      privileged: false,
    }),
    (error) => isIsleError(error, 'conflict'),
  );
  const paused = await machines.restart();
  assert.equal((await paused.recover(id)).state, 'paused');
  await paused.resume(id);
  assert.match(await machines.type(workload, 'cat /tmp/mark'), /42/);

  await paused.machines.reset(id);
  await machines.console(workload, /tiny login:[^]*tiny login:/);
  assert.doesNotMatch(await machines.type(workload, 'ls /tmp'), /mark/);

  process.kill(processOf(await paused.processes(id), 'qemu-system-'), 'SIGKILL');
  const exit = await machines.ended(workload);
  assert.deepEqual([exit.code, exit.power], [137, undefined]);
  assert.match(exit.reason ?? '', /QEMU was killed by signal 9/);
  await paused.delete(id);
});

test('a guest that is asked to end and one whose plug is pulled end as that', async () => {
  const workload = await machines.up();
  const { runtime } = machines;
  await runtime.signal(workload.id, 15);
  assert.equal((await machines.ended(workload)).code, 0);
  await assert.rejects(runtime.machines.info(workload.id), (error) => isIsleError(error, 'conflict'));
  await runtime.delete(workload.id);

  // As a host that is shut down does, without a daemon.
  const ended = await machines.up();
  process.kill(processOf(await runtime.processes(ended.id), 'vmm'), 'SIGTERM');
  assert.deepEqual((await machines.ended(ended)).power, 'off');
  await runtime.delete(ended.id);

  const other = await machines.workload(tinySpec());
  await runtime.create(other);
  await runtime.start(other.id);
  await runtime.signal(other.id, 9);
  const exit = await machines.ended(other);
  assert.deepEqual([exit.code, exit.reason], [137, undefined]);
  await runtime.delete(other.id);
});

test('a machine whose file is no disk does not start, with the words of QEMU', async () => {
  const { runtime } = machines;
  const { kernel } = tinySpec();
  const workload = await machines.workload(tinySpec({ kernel: { ...kernel!, path: '/etc/hostname' } }));
  await runtime.create(workload);
  await assert.rejects(
    runtime.start(workload.id),
    (error) =>
      isIsleError(error, 'guestBoot') && /QEMU ended with exit code 1; qemu said: /.test(String(error)),
  );
  assert.equal((await runtime.wait(workload.id)).code, 1);
  await runtime.delete(workload.id);
});
