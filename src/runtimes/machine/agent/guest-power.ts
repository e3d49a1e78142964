import { isIsleError } from '../../../lib/errors.ts';
import { openAgent, type AgentMachine } from './agent.ts';

/** Milliseconds: then it is asked by its power button. */
const patience = 2000;

/** Asks the guest's agent to end or restart its system. False when there is none that does. */
export async function powerByAgent(machine: AgentMachine, mode: 'powerdown' | 'reboot'): Promise<boolean> {
  try {
    await using agent = await openAgent(machine, { patience });
    await agent.tell('guest-shutdown', { mode });
    return true;
  } catch (error) {
    if (
      !isIsleError(error, 'guestAgentMissing', 'guestUnresponsive', 'guestFailed', 'guestBroken', 'guestGone')
    )
      throw error;
    return false;
  }
}
