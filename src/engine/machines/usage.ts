import { open, stat } from 'node:fs/promises';
import type { EngineContext } from '../context.ts';
import type { MachineDisk } from '../machine.ts';
import { findMachine, type MachineRecord } from './record.ts';

export type DiskUsage = MachineDisk & { virtual: number; allocated: number; snapshots: string[] };

/** A disk that is not there has 0 bytes: who looks must still see the others. */
export async function diskUsage(ctx: EngineContext, reference: string): Promise<DiskUsage[]> {
  const { spec } = findMachine(ctx, reference);
  return await Promise.all(
    spec.machine.disks.map(async (disk) => ({ ...disk, ...(await usageOf(ctx, disk)) })),
  );
}

async function usageOf(
  ctx: EngineContext,
  disk: MachineDisk,
): Promise<Pick<DiskUsage, 'virtual' | 'allocated' | 'snapshots'>> {
  const { diskId, path } = disk;
  if (diskId !== undefined) {
    const found = ctx.disks.list().find(({ id }) => id === diskId);
    if (!found) return { virtual: 0, allocated: 0, snapshots: [] };
    return { ...(await ctx.disks.usage(diskId)), snapshots: found.snapshots };
  }
  const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
  if (!found || path === undefined) return { virtual: 0, allocated: 0, snapshots: [] };
  const virtual = disk.format === 'raw' ? found.size : await sizeInHeader(path).catch(() => 0);
  return { virtual, allocated: found.blocks * 512, snapshots: [] };
}

/** What a qcow2 file says of its size: for people only, nothing is done with it. */
async function sizeInHeader(path: string): Promise<number> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(32), 0, 32, 0);
  if (bytesRead < 32 || buffer.readUInt32BE(0) !== 0x514649fb) return 0;
  const size = buffer.readBigUInt64BE(24);
  return size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : 0;
}

/** As `containers.size` has it: what its removal would free, and what its guest sees. */
export async function machineSize(
  ctx: EngineContext,
  record: MachineRecord,
): Promise<{ rw: number; root: number; saved: number }> {
  const disks = (await diskUsage(ctx, record.id)).filter(({ diskId }) => diskId !== undefined);
  return {
    rw: disks.reduce((sum, { allocated }) => sum + allocated, 0),
    root: disks.reduce((sum, { virtual }) => sum + virtual, 0),
    saved: 0,
  };
}
