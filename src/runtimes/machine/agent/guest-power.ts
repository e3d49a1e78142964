import { isIsleError } from '../../../lib/errors.ts';
import { openAgent, withAgent, type AgentMachine } from './agent.ts';

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

/** Sets the guest's clock to the host's, after it stood still. False when there is no agent that does. */
export async function setGuestTime(machine: AgentMachine): Promise<boolean> {
  try {
    await withAgent(machine, (agent) =>
      // Nanoseconds; whole milliseconds keep the number exact in JSON.
      agent.execute('guest-set-time', { time: Date.now() * 1_000_000 }),
    );
    return true;
  } catch (error) {
    if (
      !isIsleError(error, 'guestAgentMissing', 'guestUnresponsive', 'guestFailed', 'guestBroken', 'guestGone')
    )
      throw error;
    return false;
  }
}
