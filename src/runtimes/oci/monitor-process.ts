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
  const found = await processesOf(bundle);
  for (const candidate of found) if (await isMonitorOf(candidate.pid, bundle)) return candidate;
  return undefined;
}

/** Every conmon and OCI runtime at work on the bundle, or on something in it. */
export async function processesOf(bundle: string): Promise<MonitorProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const [program = '', ...words] = await wordsOf(pid);
      const ours =
        tools.test(program) && words.some((word) => word === bundle || word.startsWith(`${bundle}/`));
      return ours ? identified(pid) : undefined;
    }),
  );
  return found.filter((process) => process !== undefined);
}

/** As they are called, or as the sealed copy is (conmon.ts). */
const tools = /(conmon|crun|runc)[^/]*$|^\/proc\/self\/fd\/\d+$/;

function identified(pid: number): MonitorProcess | undefined {
  const startTime = startTimeOf(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

async function parentOf(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

async function isMonitorOf(pid: number, bundle: string): Promise<boolean> {
  const words = await wordsOf(pid);
  return words[0]?.endsWith('conmon') === true && words[words.indexOf('-b') + 1] === bundle;
}

async function wordsOf(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
}
