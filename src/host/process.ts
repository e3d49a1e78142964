import { readFileSync } from 'node:fs';

export { run, runOk, type RunOptions, type RunResult } from './run.ts';

/**
 * When process `pid` started, in clock ticks since boot, or undefined when there is none. With the boot id it
 * names a process for good: pids are used again.
 */
export function startTimeOf(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields === undefined ? undefined : Number(fields[19]);
}

/** True while the process of that start time exists; a zombie has ended. */
export function isAlive(pid: number, startTime: number): boolean {
  const fields = statFields(pid);
  return fields !== undefined && fields[0] !== 'Z' && fields[0] !== 'X' && Number(fields[19]) === startTime;
}

/** Changes with every boot of the host. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** The fields of /proc/PID/stat after the command's name, which may itself hold spaces and parentheses. */
function statFields(pid: number): string[] | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined; // ENOENT, or ESRCH when it went while we read
  }
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
