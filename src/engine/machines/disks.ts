import { isleError } from '../../lib/errors.ts';
import type { Rollback } from '../../lib/rollback.ts';
import type { EngineContext } from '../context.ts';
import type { MachineDisk } from '../machine.ts';
import type { DiskRequest, MachineWork } from '../machines.ts';
import { allMachines } from './record.ts';
import { takeFromAppliance } from './take-disk.ts';
import { checkUserImage } from './user-image.ts';
import { refuseSharedFile, userFile } from './user-files.ts';

/** A disk that is going to be: what the record will say of it, and what has to be done for that. */
export interface PlannedDisk {
  disk: MachineDisk;
  source: DiskRequest['source'];
  /** It is made for this machine: undone when that fails. */
  made: boolean;
}

/**
 * What a disk will be, before anything is touched. `machine`: whose; `name` is for its id in the store. Throws `conflict`
 * when another machine has it.
 */
export async function planDisk(
  ctx: EngineContext,
  machine: { id: string; name: string },
  request: DiskRequest,
  target: string,
): Promise<PlannedDisk> {
  const { source, format, target: _, ...rest } = request;
  const disk = { ...rest, target };
  switch (source.kind) {
    case 'file': {
      const what = `the disk ${target}`;
      const path = await userFile(ctx, what, source.path, 'disk');
      await refuseSharedFile(ctx, machine.id, { path, readOnly: disk.readOnly, target });
      await checkUserImage(path, source.format);
      return { disk: { ...disk, path, format: source.format }, source, made: false };
    }
    case 'disk': {
      const found = ctx.disks.get(source.disk);
      refuseOwnedDisk(ctx, machine.id, found.id);
      if (!source.linked)
        return { disk: { ...disk, diskId: found.id, format: found.format }, source, made: false };
      return {
        disk: { ...disk, diskId: newDiskId(ctx, machine, target), format: 'qcow2' },
        source,
        made: true,
      };
    }
    case 'import': {
      // What Isle opened itself (a backup) stays open until it is read.
      const path = source.chain
        ? source.path
        : await userFile(ctx, `the disk ${target}`, source.path, 'disk');
      const diskId = newDiskId(ctx, machine, target);
      return {
        disk: { ...disk, diskId, format: format ?? 'qcow2' },
        source: { ...source, path },
        made: true,
      };
    }
    case 'appliance':
    case 'empty':
      return {
        disk: { ...disk, diskId: newDiskId(ctx, machine, target), format: format ?? 'qcow2' },
        source,
        made: true,
      };
  }
}

/** Makes it in the store, or takes what is there; claims it for the machine. */
export async function makeDisk(
  ctx: EngineContext,
  machine: string,
  { disk, source, made }: PlannedDisk,
  undo: Rollback,
  work: MachineWork = {},
): Promise<void> {
  const { diskId, target } = disk;
  if (diskId === undefined) return;
  if (made) undo.add('disk', () => dropDisk(ctx, diskId));
  const size = await fillDisk(ctx, { machine, diskId }, disk, source, work);
  ctx.disks.claim(diskId, machine);
  undo.add('claim', () => ctx.disks.release(diskId, machine));
  if (size !== undefined && size !== ctx.disks.get(diskId).size) {
    if (size < ctx.disks.get(diskId).size)
      throw isleError('invalidParameter', {
        message: `the disk ${target} has ${ctx.disks.get(diskId).size} bytes: it cannot shrink to ${size}`,
      });
    await ctx.disks.resize(diskId, size);
  }
}

/** Returns the size it shall have, when that is not done with. */
async function fillDisk(
  ctx: EngineContext,
  { machine, diskId }: { machine: string; diskId: string },
  { format, target }: MachineDisk,
  source: DiskRequest['source'],
  { onProgress, signal }: MachineWork,
): Promise<number | undefined> {
  switch (source.kind) {
    case 'empty':
      await ctx.disks.create(diskId, { size: source.size, format });
      return undefined;
    case 'import':
      await ctx.disks.import(diskId, {
        source: source.path,
        format: source.format,
        chain: source.chain,
        keep: format,
        digest: source.digest,
        size: source.size,
        signal,
        onProgress: (done, total) => onProgress?.(target, done, total),
      });
      return undefined;
    case 'appliance':
      await takeFromAppliance(ctx, { machine, diskId, target, format }, source, { onProgress, signal });
      return undefined;
    case 'disk':
      if (source.linked) await ctx.disks.clone(diskId, source.disk, { linked: true });
      return source.size;
    case 'file':
      return undefined;
  }
}

/** Removes what was made for a machine that did not come to be. Idempotent. */
export async function dropDisk(ctx: EngineContext, diskId: string): Promise<void> {
  const found = ctx.disks.list().find(({ id }) => id === diskId);
  if (!found) return;
  if (found.owner !== undefined) ctx.disks.release(diskId, found.owner);
  await ctx.disks.remove(diskId);
}

/** Throws `conflict` naming the machine that has it. */
export function refuseOwnedDisk(ctx: EngineContext, machine: string, diskId: string): void {
  const other = allMachines(ctx).find(
    ({ id, spec }) => id !== machine && spec.machine.disks.some((disk) => disk.diskId === diskId),
  );
  if (other)
    throw isleError('conflict', {
      message: `the disk ${diskId} belongs to the machine "${other.name}": detach it there first, or make a copy of that machine (isle vm clone ${other.name})`,
    });
}

/** `web-vda`, and a number when that is taken: people name it when the machine is gone. */
export function newDiskId(ctx: EngineContext, { name }: { name: string }, target: string): string {
  const base = `${name.slice(0, 100)}-${target}`;
  const taken = new Set(ctx.disks.list().map(({ id }) => id));
  for (let number = 1; ; number++) {
    const id = number === 1 ? base : `${base}-${number}`;
    if (!taken.has(id)) return id;
  }
}

/** Throws `conflict` naming the machines whose disks stand on those of `machine`: they would lose what they read. */
export function refuseWithClones(
  ctx: EngineContext,
  machine: { id: string; name: string },
  disks: MachineDisk[],
): void {
  const own = new Set(disks.flatMap(({ diskId }) => diskId ?? []));
  const standing = ctx.disks
    .list()
    .filter(({ id, base }) => base !== undefined && own.has(base) && !own.has(id));
  if (standing.length === 0) return;
  const names = [...new Set(standing.map(({ id }) => userOf(ctx, id)))];
  throw isleError('conflict', {
    message: `cannot remove the disks of "${machine.name}": ${names.join(', ')} stand${names.length === 1 ? 's' : ''} on them; remove ${names.length === 1 ? 'that' : 'those'} first, or keep the disks`,
  });
}

function userOf(ctx: EngineContext, diskId: string): string {
  const machine = allMachines(ctx).find(({ spec }) =>
    spec.machine.disks.some((disk) => disk.diskId === diskId),
  );
  return machine ? `the machine "${machine.name}"` : `the disk ${diskId}`;
}
