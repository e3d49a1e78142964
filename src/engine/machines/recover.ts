import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import { allMachines } from './record.ts';

/** Before anything is served: directories and disks whose machine never came to be or is gone. */
export async function recoverMachines(ctx: EngineContext): Promise<void> {
  const disks = allMachines(ctx).flatMap(({ spec }) =>
    spec.machine.disks.flatMap(({ diskId }) => diskId ?? []),
  );
  await Promise.all([ctx.disks.recover(new Set(disks)), sweepDirectories(ctx)]);
}

async function sweepDirectories(ctx: EngineContext): Promise<void> {
  const root = join(ctx.dataRoot, 'machines');
  const found = await readdir(root).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  const unknown = found.filter((id) => !ctx.records.get(id));
  await Promise.all(unknown.map((id) => rm(join(root, id), { recursive: true, force: true })));
  await Promise.all(found.filter((id) => !unknown.includes(id)).map((id) => sweepWork(join(root, id))));
}

/** What an export was at work with when the daemon ended. */
async function sweepWork(directory: string): Promise<void> {
  const left = (await readdir(directory)).filter((name) => name.startsWith('export-'));
  await Promise.all(left.map((name) => rm(join(directory, name), { recursive: true, force: true })));
}
