import { setTimeout as sleep } from 'node:timers/promises';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import type { LiveMachine } from '../live-machine.ts';
import { memoryBackend, memoryDevice, memoryStep } from '../board.ts';
import { pluggedMemoryBackend, pluggedMemoryDevice } from '../command/type.ts';
import { freePort } from './root-ports.ts';

/** Milliseconds without the guest taking or giving more. */
const patience = 15_000;

/**
 * More than the machine was started with is memory that is plugged in; less is what its balloon takes away. The guest has to do its
 * part: throws `conflict` saying how much it has when that is not what was asked for.
 */
export async function setMemory(live: LiveMachine, bytes: number): Promise<void> {
  const qmp = await live.qmp();
  const { base, plugged } = await memoryNow(qmp);
  const wanted = Math.max(0, Math.ceil((bytes - base) / memoryStep) * memoryStep);
  try {
    // What the guest does not give back of that, the balloon takes elsewhere.
    const got = wanted === plugged ? plugged : await plug(live, qmp, base, wanted);
    await balloon(qmp, Math.min(base, bytes - got));
  } finally {
    const now = await memoryNow(qmp);
    const memory = now.ballooned + now.plugged;
    await live.changeHardware((hardware) => ({ ...hardware, spec: { ...hardware.spec, memory } }));
  }
}

interface MemoryNow {
  /** What it was started with. */
  base: number;
  /** Of that, what the balloon leaves it. */
  ballooned: number;
  /** What came beside that. */
  plugged: number;
}

async function memoryNow(qmp: Qmp): Promise<MemoryNow> {
  const { 'base-memory': base } = await qmp.execute<{ 'base-memory': number }>('query-memory-size-summary');
  const { actual } = await qmp.execute<{ actual: number }>('query-balloon');
  return { base, ballooned: actual, plugged: (await deviceNow(qmp))?.size ?? 0 };
}

interface MemoryDevice {
  data: { id?: string; size: number; 'max-size': number };
}

async function deviceNow(qmp: Qmp): Promise<MemoryDevice['data'] | undefined> {
  const devices = await qmp.execute<MemoryDevice[]>('query-memory-devices');
  return devices.find(({ data }) => data.id === memoryDevice)?.data;
}

/** Returns how much there is then: more than was asked for, when the guest cannot give all of it back. */
async function plug(live: LiveMachine, qmp: Qmp, base: number, wanted: number): Promise<number> {
  const there = await deviceNow(qmp);
  if (!there) await addDevice(live, qmp, base, wanted);
  const most = (await deviceNow(qmp))?.['max-size'] ?? 0;
  if (wanted > most) throw tooMuch(base + wanted, base + most);
  failpoint('machine.memory.plug');
  await qmp.execute('qom-set', {
    path: `/machine/peripheral/${memoryDevice}`,
    property: 'requested-size',
    value: wanted,
  });
  const got = await settled(wanted, async () => (await deviceNow(qmp))?.size ?? 0);
  if (got >= wanted) return got;
  const why = got === 0 ? ' (it needs the driver virtio_mem)' : '';
  throw isleError('conflict', {
    message: `the guest has ${mib(base + got)} MiB instead of ${mib(base + wanted)}: it takes no more memory now${why}`,
  });
}

async function addDevice(live: LiveMachine, qmp: Qmp, base: number, wanted: number): Promise<void> {
  const { maxMemory, shares } = live.hardware.spec;
  const room = Math.floor(((maxMemory ?? base) - base) / memoryStep) * memoryStep;
  if (wanted > room) throw tooMuch(base + wanted, base + room);
  await qmp.execute('object-add', pluggedMemoryBackend(room, shares.length > 0));
  try {
    await qmp.execute('device_add', pluggedMemoryDevice(await freePort(qmp)));
  } catch (error) {
    await qmp.execute('object-del', { id: memoryBackend });
    throw error;
  }
}

/** Bytes of what it was started with that the guest keeps. */
async function balloon(qmp: Qmp, wanted: number): Promise<void> {
  if ((await memoryNow(qmp)).ballooned === wanted) return;
  failpoint('machine.memory.balloon');
  await qmp.execute('balloon', { value: wanted });
  const got = await settled(wanted, async () => (await memoryNow(qmp)).ballooned);
  // Pages: what is less than one is not said.
  if (Math.abs(got - wanted) < 65_536) return;
  throw isleError('conflict', {
    message: `the guest has ${mib(got)} MiB instead of ${mib(wanted)}: it gives back no more now (its balloon driver may be missing)`,
  });
}

/** Waits while what `read` says comes nearer to `wanted`; returns where it stays. */
async function settled(wanted: number, read: () => Promise<number>): Promise<number> {
  let last = await read();
  for (let late = Date.now() + patience; last !== wanted && Date.now() < late; await sleep(100)) {
    const now = await read();
    if (now !== last) late = Date.now() + patience;
    last = now;
  }
  return last;
}

function tooMuch(bytes: number, most: number): Error {
  return isleError('conflict', {
    message: `the machine cannot have ${mib(bytes)} MiB while it runs: ${mib(most)} MiB are the most it was started with (edit it, --memory N,maxmemory=M, and start it anew)`,
  });
}

function mib(bytes: number): number {
  return Math.round(bytes / 1024 ** 2);
}
