import { powerByAgent } from '../agent/guest-power.ts';
import type { LiveMachine } from '../live-machine.ts';

/** Asks the guest to power off: its agent, or else by the power button. */
export async function shutdownGuest(live: LiveMachine): Promise<void> {
  const qmp = await live.qmp();
  // A guest that stands still would not hear it.
  if (!(await powerByAgent(live, 'powerdown'))) await qmp.execute('system_powerdown');
}

/** Asks the guest to restart: there is no button for that, so without an agent it is reset. */
export async function rebootGuest(live: LiveMachine): Promise<void> {
  if (!(await powerByAgent(live, 'reboot'))) await resetGuest(live);
}

export async function resetGuest(live: LiveMachine): Promise<void> {
  await (await live.qmp()).execute('system_reset');
}
