import type { LiveMachine } from '../live-machine.ts';
import { withAgent } from './agent.ts';

/** Milliseconds. */
const patience = 3000;

/** Tells the guest what time it is: one that goes on from a memory believes that it is still then. False without an agent. */
export async function setClock(machine: Pick<LiveMachine, 'id' | 'agentSocket'>): Promise<boolean> {
  try {
    await withAgent(
      machine,
      // Nanoseconds; the doubles of JSON lose some hundred of them.
      (agent) => agent.execute('guest-set-time', { time: Date.now() * 1_000_000 }, { patience }),
      { patience },
    );
    return true;
  } catch {
    return false;
  }
}
