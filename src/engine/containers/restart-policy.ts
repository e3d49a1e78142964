import type { RestartPolicy } from '../model.ts';
import type { Exit } from '../runtime.ts';

/** Milliseconds: `docker-engine-api.md`, restart policies. */
const firstDelay = 100;
const longestDelay = 60_000;
/** A run of this length was a good one: the next delay starts small again. */
const goodRun = 10_000;

export interface RestartQuestion {
  policy: RestartPolicy;
  exitCode: number;
  /** What its own init asked for. */
  power?: Exit['power'];
  /** Restarts by the policy since the user last started it. */
  restartCount: number;
  stoppedByUser: boolean;
  /** milliseconds the process ran */
  ranFor: number;
  /** The delay before the last restart, milliseconds; 0: none yet. */
  lastDelay: number;
}

/** The delay (milliseconds) before the restart, or undefined when there shall be none. */
export function restartDelay(question: RestartQuestion): number | undefined {
  if (question.stoppedByUser || question.power === 'off') return undefined;
  // A system that restarts itself does so whatever the policy says, as a machine would.
  if (question.power === 'reboot') return firstDelay;
  if (!wanted(question)) return undefined;
  const last = question.ranFor >= goodRun ? 0 : question.lastDelay;
  return last === 0 ? firstDelay : Math.min(last * 2, longestDelay);
}

function wanted({ policy, exitCode, restartCount }: RestartQuestion): boolean {
  switch (policy.name) {
    case 'always':
    case 'unless-stopped':
      return true;
    case 'on-failure': {
      const limit = policy.maximumRetryCount;
      return exitCode !== 0 && (limit === 0 || restartCount < limit);
    }
    case 'no':
      return false;
  }
}

/** Whether a container that is down comes up by itself when the engine (or the host) starts. */
export function comesBack(
  policy: RestartPolicy,
  state: { stoppedByUser: boolean; exitCode: number },
): boolean {
  if (policy.name === 'always') return true;
  if (policy.name === 'unless-stopped') return !state.stoppedByUser;
  return policy.name === 'on-failure' && !state.stoppedByUser && state.exitCode !== 0;
}
