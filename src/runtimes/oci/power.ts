import type { Exit } from '../../engine/runtime.ts';
import type { RunRecord } from './record.ts';

/** 128 + the signals by which the kernel tells that a pid namespace was rebooted or switched off (reboot(2), "Behavior inside PID namespaces"). */
const rebooted = 129;
const switchedOff = 130;

/** What an exit code means: an init that switched its system off has done well. */
export function endOf(code: number, { ending }: Pick<RunRecord, 'ending'>): Pick<Exit, 'code' | 'power'> {
  if (!ending) return { code };
  if (code === rebooted) return { code: 0, power: 'reboot' };
  return code === switchedOff ? { code: 0, power: 'off' } : { code };
}
