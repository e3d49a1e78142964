import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { CloudInit } from '../machine.ts';
import type { MachineRecord } from './record.ts';

/** Writes what cloud-init reads (NoCloud) as a CD into the machine's directory, anew for each start. Returns its path. */
export async function makeSeed(
  _ctx: EngineContext,
  _record: MachineRecord,
  _seed: CloudInit,
): Promise<string> {
  throw isleError('notImplemented', { what: 'a seed for cloud-init' });
}
