import { setTimeout as sleep } from 'node:timers/promises';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import type { LiveMachine } from '../live-machine.ts';
import { isIsleError, isleError } from '../../../lib/errors.ts';

export interface Unplugging {
  /** In words. */
  what: string;
  /** Milliseconds that the guest has. */
  patience: number;
  /** For devices of which QEMU does not always say that they are gone. */
  isGone?(): Promise<boolean>;
}

/**
 * Asks the guest to let go of a device and waits until it has: its driver may refuse, or not be there. Returns when the device is
 * gone, also when it has been all along. Throws `conflict` saying that the guest keeps it.
 */
export async function unplug(live: LiveMachine, device: string, options: Unplugging): Promise<void> {
  const { what, patience, isGone } = options;
  const qmp = await live.qmp();
  const ended = new AbortController();
  const told = hears(qmp, device, ended.signal);
  try {
    await qmp.execute('device_del', { id: device });
    for (let waited = 0; waited < patience; waited += interval) {
      const event = await Promise.race([told, sleep(interval, undefined)]);
      if (event === 'DEVICE_DELETED' || (await isGone?.())) return;
      if (event !== undefined) throw kept(what, 'it refuses');
    }
    throw kept(what, `nothing for ${patience / 1000} s`);
  } catch (error) {
    if (isIsleError(error, 'guestFailed') && /not found/.test(error.message)) return;
    throw error;
  } finally {
    ended.abort();
  }
}

/** Milliseconds. */
const interval = 250;

async function hears(qmp: Qmp, device: string, signal: AbortSignal): Promise<string | undefined> {
  for await (const { event, data } of qmp.events(signal))
    if (data.device === device && [...refusals, 'DEVICE_DELETED'].includes(event)) return event;
  // The connection ended: whoever asks next is told.
  return undefined;
}

const refusals = ['DEVICE_UNPLUG_GUEST_ERROR', 'MEM_UNPLUG_ERROR'];

function kept(what: string, how: string): Error {
  return isleError('conflict', {
    message: `the guest does not let go of ${what} (${how}): stop using it there (unmount it, take it offline) and try again, or change it while the machine is off`,
  });
}
