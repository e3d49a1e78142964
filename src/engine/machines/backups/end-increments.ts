import { machineDirOf } from '../../containers/paths.ts';
import type { EngineContext } from '../../context.ts';
import type { MachineRecord } from '../record.ts';
import { basesOf, forgetBackups } from './bases.ts';

/**
 * Before the disks of a machine that does not run become what they were once: no increment can stand on what has been backed
 * up, and QEMU reverts no disk whose changes it keeps track of. The caller sees to it that nobody starts the machine.
 *
 * @param why for people, at the next backup: 'it was reverted to the snapshot clean'
 */
export async function endIncrements(ctx: EngineContext, record: MachineRecord, why: string): Promise<void> {
  const { ids, lost } = basesOf(ctx, record.id);
  // Most machines were never backed up.
  if (ids.length === 0 && lost === undefined) return;
  forgetBackups(ctx, record.id, why);
  const { machines } = ctx.runtimeOf(record);
  if (!machines) return;
  // Not as for a start: the disks may be half of the way to what they shall be.
  const { machine } = record.spec;
  const disks = machine.disks.map(({ diskId, path = '' }) =>
    diskId === undefined ? { path, chain: [] } : ctx.disks.files(diskId),
  );
  const directory = machineDirOf(ctx, record.id);
  await using blocks = await machines.blocks(record.id, { spec: machine, directory, disks });
  const names = (await blocks.disks()).flatMap(({ bitmaps }) => bitmaps.map(({ name }) => name));
  if (names.length > 0) await blocks.removeBitmaps([...new Set(names)]);
}
