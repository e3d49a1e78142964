import type { Readable } from 'node:stream';
import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { PathStat } from '../engine.ts';
import type { MachineRecord } from './record.ts';

/** `cp` from and to a guest, through its agent: the same calls as of a container's root. */
export async function statGuestPath(
  _ctx: EngineContext,
  _record: MachineRecord,
  _path: string,
): Promise<PathStat> {
  throw isleError('notImplemented', { what: 'copying from virtual machines' });
}

export async function readGuestArchive(
  _ctx: EngineContext,
  _record: MachineRecord,
  _path: string,
): Promise<{ stat: PathStat; tar: Readable }> {
  throw isleError('notImplemented', { what: 'copying from virtual machines' });
}

export async function writeGuestArchive(
  _ctx: EngineContext,
  _record: MachineRecord,
  _path: string,
  _tar: Readable,
  _options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
): Promise<void> {
  throw isleError('notImplemented', { what: 'copying to virtual machines' });
}
