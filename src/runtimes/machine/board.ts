import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineHardware } from '../../engine/machine.ts';
import type { Qmp } from '../../host/qmp/qmp.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';

/**
 * Where a QEMU has its devices: what another one must have in the same places to take over its memory, whether at once or
 * from a file. A machine that boots finds its devices wherever they are.
 */
export interface Board {
  /** Root ports. */
  ports: number;
  /** By the device's id, the number of its port. */
  places: Record<string, number>;
  /** How many it was started with, and the devices of those that came later. */
  vcpus: { base: number; plugged: Record<string, unknown>[] };
  /** What it was started with, and the memory that was plugged in beside that; bytes. */
  memory: { base: number; room?: number };
}

/** The memory that is plugged in is one device, of this id; its backend has another. */
export const memoryDevice = 'memory-plugged';
export const memoryBackend = 'memory-plugged-backend';

/** Bytes of the steps in which it is given: QEMU's for transparent huge pages. */
export const memoryStep = 2 * 1024 * 1024;

interface MemoryDevice {
  data: { id?: string; 'max-size'?: number };
}

/** One place for a processor. */
export interface CpuSocket {
  type: string;
  props: Record<string, number>;
  /** Of one that is there. */
  'qom-path'?: string;
}

const peripheral = '/machine/peripheral/';

/** As it is now. */
export async function boardOf(qmp: Qmp): Promise<Board> {
  const [devices, summary, modules, sockets] = await Promise.all([
    qmp.execute<{ name: string }[]>('qom-list', { path: '/machine/peripheral' }),
    qmp.execute<{ 'base-memory': number }>('query-memory-size-summary'),
    qmp.execute<MemoryDevice[]>('query-memory-devices').catch(() => []),
    qmp.execute<CpuSocket[]>('query-hotpluggable-cpus').catch(() => []),
  ]);
  const there = sockets.filter((one) => one['qom-path'] !== undefined);
  const plugged = there
    .filter((one) => one['qom-path']?.startsWith(peripheral))
    .map((one) => processorOf(one));
  const vcpus = { base: there.length - plugged.length, plugged };
  const names = devices.map(({ name }) => name);
  const ports = Math.max(-1, ...names.flatMap((name) => portNumber(name) ?? [])) + 1;
  const places = await placesOf(qmp, names);
  const room = modules.find(({ data }) => data.id === memoryDevice)?.data['max-size'];
  return {
    ports,
    places,
    vcpus,
    memory: { base: summary['base-memory'], ...(room !== undefined && { room }) },
  };
}

/** Another QEMU's command line has it: a QEMU that was taken over must not name any device there. */
function processorOf({ type, props, 'qom-path': path = '' }: CpuSocket): Record<string, unknown> {
  const id = path.slice(peripheral.length);
  const places = Object.entries(props);
  const sound =
    /^[\w.-]+-cpu$/.test(type) &&
    /^[\w-]+$/.test(id) &&
    places.every(([name, value]) => /^[a-z]+-id$/.test(name) && Number.isSafeInteger(value));
  if (!sound) throw isleError('guestBroken', { why: 'one of its processors is none' });
  return { driver: type, id, ...props };
}

/** Not by query-pci: before the firmware has numbered the buses it shows them all empty. */
async function placesOf(qmp: Qmp, names: string[]): Promise<Board['places']> {
  const places: Board['places'] = {};
  for (const name of names) {
    if (name === 'type' || portNumber(name) !== undefined) continue;
    const bus = await qmp
      .execute<unknown>('qom-get', { path: `${peripheral}${name}`, property: 'parent_bus' })
      .catch(() => '');
    const place = portNumber(String(bus).split('/').at(-1) ?? '');
    if (place !== undefined) places[name] = place;
  }
  return places;
}

function portNumber(name: string): number | undefined {
  const digits = /^port(\d{1,3})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Kept beside the machine's record: `name` says for which memory. */
export async function keepBoard(stateDir: string, name: string, board: Board): Promise<void> {
  const path = pathOf(stateDir, name);
  await writeFile(`${path}.new`, JSON.stringify(board), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

export async function keptBoard(stateDir: string, name: string): Promise<Board | undefined> {
  try {
    return JSON.parse(await readFile(pathOf(stateDir, name), 'utf8')) as Board;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export async function forgetBoard(stateDir: string, name: string): Promise<void> {
  await rm(pathOf(stateDir, name), { force: true });
}

function pathOf(stateDir: string, name: string): string {
  return join(stateDir, `board-${encodeURIComponent(name)}.json`);
}

/** For {@link keepBoard}: of the memory that was saved, and of a snapshot's. */
export function boardNameOf(from: NonNullable<MachineHardware['restoreFrom']>): string {
  return 'snapshot' in from ? `snapshot-${from.snapshot}` : 'saved';
}
