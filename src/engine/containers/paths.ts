import { join } from 'node:path';
import type { EngineContext } from '../context.ts';

/** The directory of a container on the data root: its log and the files mounted into it. */
export function stateDirOf({ dataRoot }: Pick<EngineContext, 'dataRoot'>, id: string): string {
  return join(dataRoot, 'containers', id);
}

export function logPathOf(ctx: Pick<EngineContext, 'dataRoot'>, id: string): string {
  return join(stateDirOf(ctx, id), 'container.log');
}

/** The directory of a machine on the data root: NVRAM, TPM, seed, saved memory. Its disks are the disk store's. */
export function machineDirOf({ dataRoot }: Pick<EngineContext, 'dataRoot'>, id: string): string {
  return join(dataRoot, 'machines', id);
}
