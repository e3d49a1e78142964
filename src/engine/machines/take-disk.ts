import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { machineDirOf } from '../containers/paths.ts';
import type { EngineContext } from '../context.ts';
import type { MachineDisk } from '../machine.ts';
import type { DiskRequest, MachineWork } from '../machines.ts';

/**
 * A disk of an appliance becomes one of the store. What has to be unpacked for that lies in the machine's directory meanwhile,
 * one disk at a time, and goes with it when the daemon dies.
 */
export async function takeFromAppliance(
  ctx: EngineContext,
  disk: { machine: string; diskId: string } & Pick<MachineDisk, 'target' | 'format'>,
  source: Extract<DiskRequest['source'], { kind: 'appliance' }>,
  { onProgress, signal }: MachineWork,
): Promise<void> {
  const { machine, diskId, target, format } = disk;
  const directory = join(machineDirOf(ctx, machine), 'import');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    onProgress?.(target, 0, 0);
    const file = await source.take(directory, signal);
    failpoint('appliance.disk.taken');
    const { size } = await ctx.disks.import(diskId, {
      source: file.path,
      format: file.format,
      keep: format,
      signal,
      onProgress: (done, total) => onProgress?.(target, done, total),
    });
    if (file.size !== undefined && size < file.size)
      throw isleError('invalidAppliance', {
        where: target,
        why: `the disk has ${size} bytes, its machine's description says ${file.size}`,
      });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
