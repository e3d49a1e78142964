import { lstatSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isIsleError, isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { snapshotDisks } from '../../../lib/snapshot-disks.ts';
import {
  fileSnapshots,
  removeFileSnapshot,
  revertFileSnapshot,
  takeFileSnapshot,
} from '../../../storage/disks/file-snapshots.ts';
import { machineDirOf } from '../../containers/paths.ts';
import type { EngineContext } from '../../context.ts';
import type { MachineHardwareSpec } from '../../machine.ts';
import { allMachines } from '../record.ts';
import { copyTpm, dropTpm, returnTpm } from './tpm.ts';

/** A machine that does not run, as far as its snapshots go. */
export interface Idle {
  id: string;
  hardware: Pick<MachineHardwareSpec, 'disks' | 'firmware' | 'tpm'>;
}

export function nvramOf(ctx: Pick<EngineContext, 'dataRoot'>, id: string): string {
  return join(machineDirOf(ctx, id), 'nvram.qcow2');
}

/** QEMU could put a link there: what that leads to is not the machine's. */
export function isOwnFile(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** One disk after the other: nobody writes them. What fails in the middle is taken back by {@link removeFromDisks}. */
export async function takeOfDisks(ctx: EngineContext, idle: Idle, name: string): Promise<void> {
  for (const disk of snapshotDisks(idle.hardware.disks)) {
    if (disk.diskId !== undefined) await ctx.disks.takeSnapshot(disk.diskId, name);
    else await takeFileSnapshot(disk.path ?? '', name);
    failpoint('machine.snapshot.disk');
  }
  const nvram = nvramOf(ctx, idle.id);
  if (hasNvram(idle) && isOwnFile(nvram)) await takeFileSnapshot(nvram, name);
  await copyTpm(ctx, idle, name);
}

/** Throws `conflict` for a snapshot that is not on every disk any more, and for disks that others have now. */
export function checkRevert(ctx: EngineContext, idle: Idle, name: string): void {
  for (const { diskId, path, target } of snapshotDisks(idle.hardware.disks)) {
    const has =
      diskId === undefined
        ? fileSnapshots(path ?? '').includes(name)
        : ctx.disks.list().some((disk) => disk.id === diskId && disk.snapshots.includes(name));
    if (!has)
      throw isleError('conflict', {
        message: `the snapshot "${name}" is not on the disk ${target} (${diskId ?? path}) any more: it was changed by others, or is gone`,
      });
    const owner = diskId === undefined ? undefined : ctx.disks.get(diskId).owner;
    if (owner !== undefined && owner !== idle.id)
      throw isleError('conflict', {
        message: `the disk ${target} of the snapshot "${name}" (${diskId}) belongs to the machine "${ctx.records.get(owner)?.name ?? owner}" now: detach it there first`,
      });
  }
}

/** May be called again after it failed. */
export async function revertDisks(ctx: EngineContext, idle: Idle, name: string): Promise<void> {
  for (const disk of snapshotDisks(idle.hardware.disks)) {
    if (disk.diskId !== undefined) await ctx.disks.revertSnapshot(disk.diskId, name);
    else await revertFileSnapshot(disk.path ?? '', name);
    failpoint('machine.revert.disk');
  }
  const nvram = nvramOf(ctx, idle.id);
  const kept = fileSnapshots(nvram);
  if (kept.includes(name)) await revertFileSnapshot(nvram, name);
  // It had none yet: the next start makes one as it did then.
  else if (hasNvram(idle) && kept.length === 0) await rm(nvram, { force: true });
  await returnTpm(ctx, idle, name);
}

/**
 * From everything that has it. A disk that another machine writes now keeps it: nobody but that one may touch it. `running`: its
 * QEMU has removed it from what that writes.
 */
export async function removeFromDisks(
  ctx: EngineContext,
  idle: Idle,
  name: string,
  running = false,
): Promise<void> {
  for (const { diskId, path, readOnly, format } of idle.hardware.disks) {
    if (readOnly || format === 'raw') continue;
    if (diskId === undefined) {
      if (path !== undefined) await removeFileSnapshot(path, name);
    } else if (ctx.disks.list().some((disk) => disk.id === diskId && disk.snapshots.includes(name)))
      await unlessTaken(ctx, diskId, idle.id, () => ctx.disks.removeSnapshot(diskId, name));
    failpoint('machine.unsnapshot.disk');
  }
  if (!running) await removeFileSnapshot(nvramOf(ctx, idle.id), name);
  await dropTpm(ctx, idle.id, name);
}

async function unlessTaken(
  ctx: EngineContext,
  diskId: string,
  machine: string,
  remove: () => Promise<void>,
): Promise<void> {
  const user = allMachines(ctx).find(
    ({ id, spec }) => id !== machine && spec.machine.disks.some((disk) => disk.diskId === diskId),
  );
  try {
    await remove();
  } catch (error) {
    if (user === undefined || !isIsleError(error, 'conflict')) throw error;
    ctx.log.warn({ disk: diskId }, `a snapshot stays on a disk that the machine "${user.name}" has now`);
  }
}

function hasNvram({ hardware }: Idle): boolean {
  return hardware.firmware !== 'bios';
}
