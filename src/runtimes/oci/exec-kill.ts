import { pidfdSignal } from '../../host/pidfd.ts';
import { startTimeOf } from '../../host/process.ts';

/** Kills the process that has the number `pid` now, and no later one of that number. */
export function killerOf(pid: number): () => Promise<void> {
  const startTime = startTimeOf(pid);
  return async () => {
    if (startTime !== undefined) pidfdSignal(pid, startTime, 9);
  };
}
