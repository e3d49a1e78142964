import type { MachineDisk } from '../../../engine/machine.ts';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isIsleError, isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { Rollback } from '../../../lib/rollback.ts';
import { diskNodes, type Node } from '../command/blocks.ts';
import type { LiveMachine } from '../live-machine.ts';
import { freePort } from './root-ports.ts';
import { diskNode } from './snapshot-nodes.ts';
import { unplug } from './unplug.ts';
import { withdrawUnused } from './withdraw.ts';

interface DiskFiles {
  path: string;
  chain: string[];
}

/** Milliseconds that a guest has to let go of a disk: the button of a PCIe slot alone is waited for five seconds. */
const patience = 40_000;

/** Milliseconds for what goes through all of a disk's tables. */
const slow = { patience: 120_000 };

/** Throws `conflict` for a bus that takes nothing while the machine runs, `invalidDisk` for a file that QEMU cannot open. */
export async function plugDisk(live: LiveMachine, disk: MachineDisk, files: DiskFiles): Promise<void> {
  const { target } = disk;
  const { spec } = live.hardware;
  if ([...spec.disks, ...spec.cdroms].some((other) => other.target === target))
    throw isleError('conflict', { message: `the machine has a disk ${target} already` });
  if (spec.type === 'microvm')
    throw isleError('conflict', {
      message: 'a machine of type microvm takes no disks while it runs: stop it first, or make it a q35',
    });
  const qmp = await live.qmp();
  const device = await deviceOf(qmp, disk);
  await dropNodes(qmp, target);
  await using undo = new Rollback();
  const seen = new Map<string, string>();
  for (const [index, path] of [files.path, ...files.chain].entries()) {
    seen.set(path, await live.expose(path, { write: index === 0 && !disk.readOnly }));
    undo.add('file', () => withdrawUnused(live, path));
  }
  undo.add('nodes', () => dropNodes(qmp, target));
  for (const node of diskNodes(disk, files, (path) => seen.get(path) as string)) await addNode(qmp, node);
  failpoint('machine.plug.nodes');
  await qmp.execute('device_add', device);
  undo.add('device', () => unplug(live, target, { what: `the disk ${target}`, patience }));
  await throttle(qmp, target, disk.limits);
  await live.changeHardware((hardware) => ({
    ...hardware,
    spec: { ...hardware.spec, disks: [...hardware.spec.disks, disk] },
    disks: [...hardware.disks, files],
  }));
  undo.keep();
  failpoint('machine.plug.after');
}

/**
 * Throws `conflict` when the guest keeps it; then all is as it was. Of one that the machine is not known to have, what a daemon
 * left that died while it was plugged in.
 */
export async function unplugDisk(live: LiveMachine, target: string): Promise<void> {
  const index = live.hardware.spec.disks.findIndex((disk) => disk.target === target);
  const { bus = 'virtio' } = live.hardware.spec.disks[index] ?? {};
  if (!pluggable.includes(bus)) throw fixed(target, bus);
  failpoint('machine.unplug.before');
  await unplug(live, target, { what: `the disk ${target}`, patience });
  failpoint('machine.unplug.gone');
  await dropNodes(await live.qmp(), target);
  const files = live.hardware.disks[index];
  if (files === undefined) return;
  await live.changeHardware((hardware) => ({
    ...hardware,
    spec: { ...hardware.spec, disks: hardware.spec.disks.filter((disk) => disk.target !== target) },
    disks: hardware.disks.filter((one) => one !== files),
  }));
  for (const path of [files.path, ...files.chain]) await withdrawUnused(live, path);
}

export async function resizeDisk(live: LiveMachine, target: string, size: number): Promise<void> {
  placeOf(live, target);
  const qmp = await live.qmp();
  const now = await sizeOf(qmp, target);
  if (size < now)
    throw isleError('conflict', {
      message: `the disk ${target} has ${now} bytes: it cannot shrink to ${size} while the machine runs`,
    });
  await qmp.execute('block_resize', { 'node-name': diskNode(target), size }, slow);
}

export async function limitDisk(
  live: LiveMachine,
  target: string,
  limits: MachineDisk['limits'],
): Promise<void> {
  placeOf(live, target);
  await throttle(await live.qmp(), target, limits);
  await live.changeHardware((hardware) => ({
    ...hardware,
    spec: {
      ...hardware.spec,
      disks: hardware.spec.disks.map((disk) => (disk.target === target ? { ...disk, limits } : disk)),
    },
  }));
}

/** Of all disks, once QEMU has started: limits are no part of its command line. */
export async function limitDisks(live: LiveMachine): Promise<void> {
  const limited = live.hardware.spec.disks.filter(({ limits }) => Object.values(limits).some(Boolean));
  for (const { target, limits } of limited) await throttle(await live.qmp(), target, limits);
}

/** The kinds of disks that guests can get and lose while they run. */
const pluggable: MachineDisk['bus'][] = ['virtio', 'scsi', 'nvme'];

function fixed(target: string, bus: string): Error {
  return isleError('conflict', {
    message: `the disk ${target} is on ${bus}, which takes and gives nothing while the machine runs: stop it first, or take virtio, scsi or nvme`,
  });
}

async function deviceOf(qmp: Qmp, disk: MachineDisk): Promise<Node> {
  const { target, bus, serial, cache } = disk;
  const common = { id: target, drive: diskNode(target), ...(serial !== undefined && { serial }) };
  const cached = { 'write-cache': cache === 'writethrough' ? 'off' : 'on' };
  switch (bus) {
    case 'virtio':
      return { driver: 'virtio-blk-pci', bus: await freePort(qmp), ...common, ...cached };
    case 'nvme':
      return { driver: 'nvme', bus: await freePort(qmp), ...common, serial: serial ?? target };
    case 'scsi':
      return { driver: 'scsi-hd', bus: await scsiBus(qmp), ...common, ...cached };
    default:
      throw fixed(target, bus);
  }
}

/** Of the controller that the machine has, or of one that it gets now. */
async function scsiBus(qmp: Qmp): Promise<string> {
  const found = await qmp.execute<{ name: string; type: string }[]>('qom-list', {
    path: '/machine/peripheral',
  });
  if (!found.some(({ name }) => name === 'scsi'))
    await qmp.execute('device_add', { driver: 'virtio-scsi-pci', id: 'scsi', bus: await freePort(qmp) });
  return 'scsi.0';
}

async function addNode(qmp: Qmp, node: Node): Promise<void> {
  try {
    await qmp.execute('blockdev-add', node, slow);
  } catch (error) {
    if (!isIsleError(error, 'guestFailed')) throw error;
    throw isleError('invalidDisk', { why: error.message }, error);
  }
}

interface NodeInfo {
  'node-name': string;
  image?: { 'virtual-size'?: number };
}

function namedNodes(qmp: Qmp): Promise<NodeInfo[]> {
  return qmp.execute<NodeInfo[]>('query-named-block-nodes', { flat: true }, slow);
}

/** Also those that a guest let go of when nobody waited for it any more. What stands below goes with them. */
async function dropNodes(qmp: Qmp, target: string): Promise<void> {
  const found = await namedNodes(qmp);
  for (const name of [diskNode(target), `file-${target}`])
    if (found.some((node) => node['node-name'] === name))
      await qmp.execute('blockdev-del', { 'node-name': name }, slow);
}

async function sizeOf(qmp: Qmp, target: string): Promise<number> {
  const node = (await namedNodes(qmp)).find((one) => one['node-name'] === diskNode(target));
  return Number(node?.image?.['virtual-size'] ?? 0);
}

async function throttle(qmp: Qmp, target: string, limits: MachineDisk['limits']): Promise<void> {
  const { readBps = 0, writeBps = 0, readIops = 0, writeIops = 0 } = limits;
  // What has the disk may be a part of the device.
  const drives = await qmp.execute<{ qdev?: string }[]>('query-block');
  const id = drives.find(({ qdev }) => qdev?.split('/').includes(target))?.qdev ?? target;
  await qmp.execute('block_set_io_throttle', {
    id,
    ...{ bps: 0, bps_rd: readBps, bps_wr: writeBps, iops: 0, iops_rd: readIops, iops_wr: writeIops },
  });
}

function placeOf(live: LiveMachine, target: string): number {
  const index = live.hardware.spec.disks.findIndex((disk) => disk.target === target);
  if (index < 0) throw isleError('conflict', { message: `the machine that runs has no disk ${target}` });
  return index;
}
