import type { LiveMachine } from '../live-machine.ts';
import { filesOf } from '../plan.ts';

/** Of a file that something of the machine has let go of: other disks may stand on it, another drive may have it. */
export async function withdrawUnused(live: LiveMachine, path: string): Promise<void> {
  if (!filesOf(live.hardware).some((file) => file.path === path)) await live.withdraw(path);
}
