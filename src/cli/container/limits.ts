import { Failure } from '../failure.ts';
import { parseInteger } from '../flags.ts';

export interface UlimitBody {
  Name: string;
  Hard: number;
  Soft: number;
}

const ulimits = new Set([
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
]);

/** `name=soft[:hard]`, −1 for unlimited. */
export function parseUlimit(given: string): UlimitBody {
  const match = /^([^=]+)=(.+)$/.exec(given);
  if (!match) throw new Failure(`invalid ulimit argument: ${given}`);
  const [, name, values] = match as unknown as [string, string, string];
  if (!ulimits.has(name)) throw new Failure(`invalid ulimit type: ${name}`);
  const [softText = '', hardText, ...more] = values.split(':');
  if (more.length > 0)
    throw new Failure(`too many limit value arguments - ${values}, can only have up to two, soft[:hard]`);
  const soft = parseInteger(softText);
  const hard = hardText === undefined ? soft : parseInteger(hardText);
  if (hard !== -1 && (soft === -1 || soft > hard))
    throw new Failure(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
  return { Name: name, Hard: hard, Soft: soft };
}

const sysctlNames = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

/** A parameter that belongs to a namespace of the container, so that it cannot change the host. */
export function parseSysctl(given: string): string {
  const [name = '', value] = given.split('=', 2);
  const allowed = sysctlNames.has(name) || name.startsWith('net.') || name.startsWith('fs.mqueue.');
  if (value === undefined || !allowed) throw new Failure(`sysctl '${given}' is not allowed`);
  return given;
}
