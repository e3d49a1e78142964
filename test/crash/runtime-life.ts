import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerSpec, Resources } from '../../src/engine/model.ts';
import type { Runtime } from '../../src/engine/runtime.ts';
import { silentLog } from '../../src/lib/log.ts';
import { newId } from '../../src/lib/ids.ts';
import { createMachineRuntime } from '../../src/runtimes/machine/runtime.ts';
import { createMicrovmRuntime } from '../../src/runtimes/microvm/runtime.ts';
import { createOciRuntime } from '../../src/runtimes/oci/runtime.ts';
import { machineOptions } from '../fixtures/machine.ts';
import { microvmOptions } from '../fixtures/microvm.ts';

/**
 * The victim of the crash tests: leads one container through its life and says after each step that it is done.
 * Arguments: `oci`, `machine`, `microvm` or `pooled microvm` (a guest waits for it); the runtime's options and the workload, as JSON. Failures are said too, and do not stop it.
 */
const kind = process.argv[2];
const [options, workload] = process.argv.slice(3).map((text) => JSON.parse(text));
const runtime: Runtime =
  kind === 'oci'
    ? await createOciRuntime({ ...options, log: silentLog() })
    : kind === 'machine'
      ? await createMachineRuntime(machineOptions(options))
      : await createMicrovmRuntime(microvmOptions(options));
const { id } = workload;

async function step(name: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
    process.stdout.write(`${name}\n`);
  } catch (error) {
    process.stdout.write(`failed ${name}: ${String(error)}\n`);
  }
}

const changes: Record<string, Resources> = { oci: { pidsLimit: 77 }, machine: { cpuShares: 77 } };

const exec = {
  id: newId(),
  args: ['true'],
  env: ['PATH=/bin'],
  cwd: '/',
  user: '',
  tty: false,
  stdin: false,
  privileged: false,
};

// Keeps the process alive while only unreferenced handles wait.
const awake = setInterval(() => {}, 1000);
if (kind === 'pooled microvm') await guestWaits();
process.stdout.write('begin\n');
await step('create', () => runtime.create(workload));
await step('start', () => runtime.start(id));
if (kind !== 'machine')
  await step('exec', async () => {
    const { streams, exit } = await runtime.exec(id, exec);
    streams.stdout.resume();
    streams.stderr.resume();
    await exit;
  });
await step('update', () =>
  runtime.update(id, changes[kind ?? ''] ?? { cpuShares: 77, memory: 112 * 1024 * 1024 }),
);
await step('pause', () => runtime.pause(id));
await step('resume', () => runtime.resume(id));
await step('delete', () => runtime.delete(id));
clearInterval(awake);
await runtime.close?.();

async function guestWaits(): Promise<void> {
  const ids = [{ map: workload.idMap, [Symbol.dispose]: () => {} }];
  runtime.keepReady?.(async () => ids.pop() ?? Promise.reject(new Error('one guest is enough')));
  const usual = {
    resources: {},
    openStdin: false,
    stdinOnce: false,
    tty: false,
    cgroupParent: '',
    logConfig: { driver: 'json-file', options: {} },
  };
  while (!runtime.takeReady?.(usual as ContainerSpec)) await delay(100);
}
