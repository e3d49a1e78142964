import type { Readable } from 'node:stream';
import { publishContainer } from '../containers/events.ts';
import type { EngineContext } from '../context.ts';
import type { PathStat } from '../engine.ts';
import { controlOf, type MachineRecord } from './record.ts';

/** `cp` from and to a guest, through its agent: the same calls as of a container's root. Of one that runs only. */
export async function statGuestPath(
  ctx: EngineContext,
  record: MachineRecord,
  path: string,
): Promise<PathStat> {
  return await controlOf(ctx, record.id).control.agentFiles(record.id).stat(path);
}

export async function readGuestArchive(
  ctx: EngineContext,
  record: MachineRecord,
  path: string,
): Promise<{ stat: PathStat; tar: Readable }> {
  const archive = await controlOf(ctx, record.id).control.agentFiles(record.id).read(path);
  publishContainer(ctx, record, 'archive-path');
  return archive;
}

export async function writeGuestArchive(
  ctx: EngineContext,
  record: MachineRecord,
  path: string,
  tar: Readable,
  { copyUidGid }: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
): Promise<void> {
  await controlOf(ctx, record.id).control.agentFiles(record.id).write(path, tar, { copyUidGid });
  publishContainer(ctx, record, 'extract-to-dir');
}
