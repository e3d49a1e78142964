import { mkdir } from 'node:fs/promises';
import { isIsleError, isleError } from '../../lib/errors.ts';
import { machineDirOf, stateDirOf } from '../containers/paths.ts';
import type { Attachment } from '../../network/network.ts';
import type { EngineContext } from '../context.ts';
import type { MachineHardware, MachineSpec } from '../machine.ts';
import { continuationOf } from './moment.ts';
import { refuseHalfReverted } from './snapshots/take.ts';
import { refuseOwnedDisk } from './disks.ts';
import type { MachineRecord } from './record.ts';
import { savedPathOf } from './saved.ts';
import { makeSeed } from './seed.ts';
import { checkUserFiles, refuseSharedFile, userFile } from './user-files.ts';

/**
 * Everything of a machine that is about to start, found on the host: its disks are its own, the user's files are there.
 * Throws `conflict` naming the machine that has a disk, `invalidParameter` for a file that went.
 */
export async function prepareMachine(
  ctx: EngineContext,
  record: MachineRecord,
  attachment: Attachment | undefined,
): Promise<MachineHardware> {
  const { id, spec } = record;
  refuseHalfReverted(ctx, record);
  // What goes on from a memory has the hardware that it had then.
  const from = continuationOf(ctx, record, savedPathOf(ctx, id));
  const machine: MachineSpec = from
    ? { ...from.hardware, generationId: spec.machine.generationId, snapshots: spec.machine.snapshots }
    : spec.machine;
  const directory = machineDirOf(ctx, id);
  // A damaged data root may have lost it.
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await checkUserFiles(ctx, machine, stateDirOf(ctx, id));
  const disks: MachineHardware['disks'] = [];
  for (const { diskId, path, target, readOnly } of machine.disks) {
    if (diskId !== undefined) {
      disks.push(claimed(ctx, record, { diskId, target }));
    } else {
      const real = await userFile(ctx, `the disk ${target}`, path ?? '', 'disk');
      await refuseSharedFile(ctx, id, { path: real, readOnly, target });
      disks.push({ path: real, chain: [] });
    }
  }
  return {
    spec: machine,
    directory,
    disks,
    ...(machine.cloudInit && { seed: await makeSeed(ctx, id, machine.cloudInit, attachment) }),
    ...(from && { restoreFrom: from.restoreFrom }),
  };
}

/** A disk of the store, from now on its own. A 404 would mean to clients that there is no such container. */
function claimed(
  ctx: EngineContext,
  { id, name }: MachineRecord,
  { diskId, target }: { diskId: string; target: string },
): MachineHardware['disks'][number] {
  refuseOwnedDisk(ctx, id, diskId);
  try {
    ctx.disks.claim(diskId, id);
    return ctx.disks.files(diskId);
  } catch (error) {
    if (!isIsleError(error, 'noSuchDisk')) throw error;
    throw isleError(
      'conflict',
      {
        message: `the disk ${target} of the machine "${name}" (${diskId}) is not in the store any more: put it back, or take it out of the machine (isle vm detach-disk ${name} ${target})`,
      },
      error,
    );
  }
}
