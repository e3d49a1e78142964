import type { MachineSummary } from '../client/machine-types.ts';
import type { Paint } from '../terminal/paint.ts';

type Stateful = Pick<MachineSummary, 'State' | 'Saved'>;

export function isOff({ State }: Stateful): boolean {
  return !['running', 'paused', 'restarting'].includes(State);
}

/** In virsh's words. */
export function stateOf(machine: Stateful): string {
  if (!isOff(machine)) return machine.State;
  if (machine.Saved) return 'saved';
  return machine.State === 'exited' || machine.State === 'created' ? 'shut off' : machine.State;
}

export function statePaint(machine: Stateful, paint: Paint): (text: string) => string {
  if (machine.State === 'running') return paint.green;
  if (machine.State === 'dead') return paint.red;
  return isOff(machine) ? paint.dim : paint.yellow;
}
