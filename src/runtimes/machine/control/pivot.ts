import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { diskNodes, type Node } from '../command/blocks.ts';
import type { LiveMachine } from '../live-machine.ts';
import { diskNode, tablePatience } from './snapshot-nodes.ts';

export interface Overlay {
  target: string;
  /** An empty qcow2 file over the disk's present one. */
  path: string;
  chain: string[];
}

/**
 * From now on disks write to overlays, and their present files are only read. The guest stands still for the exchange (some
 * milliseconds), so that all disks change at one moment, and their nodes keep their names. All or none: throws `guestFailed` and
 * `conflict` when everything is as it was, `internal` when that could not be had again; the guest is left stopped then. Called
 * again after a daemon died in the middle, it finishes what was begun; the guest stands still until somebody resumes it.
 */
export async function pivotDisks(live: LiveMachine, overlays: Overlay[]): Promise<void> {
  const qmp = await live.ownQmp();
  try {
    const moves: Move[] = [];
    for (const overlay of overlays) moves.push(...(await planMove(live, qmp, overlay)));
    const { running } = await qmp.execute<{ running: boolean }>('query-status');
    failpoint('machine.pivot.before');
    await qmp.execute('stop', undefined, slow);
    await moveAll(qmp, moves);
    failpoint('machine.pivot.after');
    await rememberFiles(live, overlays);
    if (running === true) await qmp.execute('cont', undefined, slow);
  } finally {
    qmp.close();
  }
}

interface Move {
  target: string;
  /** Somebody died in the middle of its exchange. */
  held: boolean;
  /** bytes */
  size: number;
  before: Node[];
  after: Node[];
}

async function moveAll(qmp: Qmp, moves: Move[]): Promise<void> {
  const done: Move[] = [];
  try {
    for (const move of moves) {
      await exchange(qmp, move, move.before, move.after);
      done.push(move);
    }
  } catch (error) {
    if (error instanceof HalfMoved || moves.some(({ held }) => held)) throw halfMoved(moves, error);
    try {
      for (const move of done.toReversed())
        await exchange(qmp, { ...move, held: false }, move.after, move.before);
      await qmp.execute('cont', undefined, slow);
    } catch (second) {
      throw halfMoved(moves, second);
    }
    throw error;
  }
}

/** The device keeps nothing of a disk but its size for a moment; the guest does not run meanwhile. */
async function exchange(qmp: Qmp, { target, size, held }: Move, from: Node[], to: Node[]): Promise<void> {
  const hold = holdNode(target);
  const drive = (node: string) =>
    qmp.execute('qom-set', { path: `/machine/peripheral/${target}`, property: 'drive', value: node }, slow);
  if (!(await nodesOf(qmp)).some((node) => node['node-name'] === hold))
    await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': hold, size, 'read-zeroes': true });
  try {
    if (!held) await drive(hold);
    await dropNodes(qmp, target).catch(async (error: unknown) => {
      // Somebody else uses it: a backup, a migration.
      await drive(diskNode(target));
      throw error;
    });
    await addNodes(qmp, to).catch(async (error: unknown) => {
      await rescued(async () => {
        await dropNodes(qmp, target);
        await addNodes(qmp, from);
        await drive(diskNode(target));
      });
      throw error;
    });
    await rescued(() => drive(diskNode(target)));
  } finally {
    await qmp.execute('blockdev-del', { 'node-name': hold }, slow).catch(() => {});
  }
}

/** What has to work for the guest to have its disk at all. */
async function rescued(act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    throw new HalfMoved('a disk is gone', { cause: error });
  }
}

class HalfMoved extends Error {}

function halfMoved(moves: Move[], cause: unknown): Error {
  const targets = moves.map(({ target }) => target).join(', ');
  return isleError(
    'internal',
    {
      message: `the disks ${targets} could be given neither to their new files nor back: the guest was stopped before it could notice; pull its plug and start it again`,
    },
    cause,
  );
}

async function addNodes(qmp: Qmp, nodes: Node[]): Promise<void> {
  for (const node of nodes) await qmp.execute('blockdev-add', node, slow);
}

/** A disk's own nodes, those that are there. */
async function dropNodes(qmp: Qmp, target: string): Promise<void> {
  for (const name of [diskNode(target), `file-${target}`]) {
    if (!(await nodesOf(qmp)).some((node) => node['node-name'] === name)) continue;
    await qmp.execute('blockdev-del', { 'node-name': name }, slow);
  }
}

/** Stands in for a disk while it is exchanged: no guest ever runs on it. */
function holdNode(target: string): string {
  return `hold-${target}`;
}

async function nodesOf(qmp: Qmp): Promise<NodeInfo[]> {
  const found = await qmp.execute('query-named-block-nodes', { flat: true }, slow);
  if (!Array.isArray(found)) throw isleError('guestBroken', { why: 'its block nodes are no list' });
  return found.filter((node) => typeof node === 'object' && node !== null) as NodeInfo[];
}

/** The node that the guest's device reads and writes. */
async function rootOf(qmp: Qmp, target: string): Promise<string | undefined> {
  const found = await qmp.execute<{ qdev?: string; inserted?: { 'node-name'?: string } }[]>(
    'query-block',
    undefined,
    slow,
  );
  const device = `/machine/peripheral/${target}`;
  const own = found.find(({ qdev }) => qdev === device || qdev?.startsWith(`${device}/`) || qdev === target);
  return own?.inserted?.['node-name'];
}

interface NodeInfo {
  'node-name': string;
  image?: { 'virtual-size'?: number };
}

/** Nothing for a disk that is there already. */
async function planMove(live: LiveMachine, qmp: Qmp, { target, path, chain }: Overlay): Promise<Move[]> {
  const { spec, disks } = live.hardware;
  const index = spec.disks.findIndex((disk) => disk.target === target);
  const disk = spec.disks[index];
  const present = disks[index];
  if (!disk || !present) throw isleError('conflict', { message: `the machine has no disk ${target}` });
  if (disk.format !== 'qcow2')
    throw isleError('conflict', { message: `disk ${target} is raw: only qcow2 can stand on others` });
  const nodes = await nodesOf(qmp);
  const hold = nodes.find((node) => node['node-name'] === holdNode(target));
  if (present.path === path && !hold) return [];
  const top = hold ?? nodes.find((node) => node['node-name'] === diskNode(target));
  const size = Number(top?.image?.['virtual-size']);
  if (!top || !Number.isSafeInteger(size))
    throw isleError('guestFailed', { what: `find disk ${target}`, detail: 'QEMU has no such node' });
  const blocksOf = async (files: { path: string; chain: string[] }): Promise<Node[]> => {
    const seen = new Map([[files.path, await live.expose(files.path, { write: !disk.readOnly })]]);
    for (const base of files.chain) seen.set(base, await live.expose(base, { write: false }));
    return diskNodes(disk, files, (file) => seen.get(file) ?? '');
  };
  const held = hold !== undefined && (await rootOf(qmp, target)) === holdNode(target);
  return [{ target, held, size, before: await blocksOf(present), after: await blocksOf({ path, chain }) }];
}

async function rememberFiles(live: LiveMachine, overlays: Overlay[]): Promise<void> {
  await live.changeHardware((hardware) => ({
    ...hardware,
    disks: hardware.disks.map((files, index) => {
      const moved = overlays.find(({ target }) => target === hardware.spec.disks[index]?.target);
      return moved ? { path: moved.path, chain: moved.chain } : files;
    }),
  }));
}

const slow = { patience: tablePatience };
