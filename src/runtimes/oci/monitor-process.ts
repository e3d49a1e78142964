import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTimeOf } from '../../host/process.ts';
import { readNumber } from './record.ts';

export interface MonitorProcess {
  pid: number;
  startTime: number;
}

/**
 * The conmon of a bundle that an earlier daemon started. It is the parent of the bundle's process (conmon is its
 * subreaper); when that has ended or never came to be, all processes are searched.
 */
export async function findMonitor(bundle: string): Promise<MonitorProcess | undefined> {
  const pid = await readNumber(join(bundle, 'pid'));
  const parent = pid === undefined ? undefined : await parentOf(pid);
  if (parent !== undefined && (await isMonitorOf(parent, bundle))) return identified(parent);
  for (const name of await readdir('/proc')) {
    const candidate = Number(name);
    if (Number.isInteger(candidate) && (await isMonitorOf(candidate, bundle))) return identified(candidate);
  }
  return undefined;
}

function identified(pid: number): MonitorProcess | undefined {
  const startTime = startTimeOf(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

async function parentOf(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

async function isMonitorOf(pid: number, bundle: string): Promise<boolean> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  return words[0]?.endsWith('conmon') === true && words[words.indexOf('-b') + 1] === bundle;
}
