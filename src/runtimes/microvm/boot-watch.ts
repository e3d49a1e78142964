import { setTimeout as sleep } from 'node:timers/promises';
import { isIsleError, messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { withQmp } from '../../host/qmp/connect.ts';

export interface BootWatchOptions {
  id: string;
  /** QEMU's socket. */
  qmp: string;
  /** Nanoseconds of processor time that the monitor has taken so far; undefined while it stands still by order (a pause). */
  cpuTime(): Promise<number | undefined>;
  log: Logger;
  /** Milliseconds between two looks. */
  every?: number;
  /** The guest has greeted, or has ended. */
  signal: AbortSignal;
}

/**
 * Until its guest greets: resets a VM whose processor stands still, a few times. A kernel that is kept waiting for a tenth
 * of a second just when it measures its local APIC's timer (a busy host, without KVM) believes that this has none
 * ("APIC frequency too slow"), and sleeps for ever. Never rejects.
 */
export async function watchBoot({
  id,
  qmp,
  cpuTime,
  log,
  every = 4000,
  signal,
}: BootWatchOptions): Promise<void> {
  try {
    for (let resets = 0; resets < most; ) {
      const before = await cpuTime();
      await sleep(every, undefined, { signal });
      const after = await cpuTime();
      if (before === undefined || after === undefined || after - before > idle) continue;
      signal.throwIfAborted();
      resets++;
      log.warn({ container: id }, 'the guest sleeps before it is up: it is reset');
      await reset(qmp);
    }
  } catch (error) {
    if (!signal.aborted && !isIsleError(error, 'conflict'))
      log.warn({ container: id, err: error }, `the guest's boot is not watched: ${messageOf(error)}`);
  }
}

/** Nanoseconds that a guest takes at most between two looks when nothing happens in it. */
const idle = 25_000_000;
const most = 5;

/** QEMU was told to end instead of starting again (`-no-reboot`), which is right for what the guest does. */
async function reset(qmp: string): Promise<void> {
  await withQmp(qmp, async (connected) => {
    await connected.execute('set-action', { reboot: 'reset' });
    await connected.execute('system_reset');
    // The reset is done by QEMU's main loop, after this answer.
    await sleep(200);
    await connected.execute('set-action', { reboot: 'shutdown' });
  });
}

/** What `boot` does, under watch until it calls `up` or is over. `signal`: the guest has ended. */
export async function watched<T>(
  options: BootWatchOptions,
  boot: (up: () => void) => Promise<T>,
): Promise<T> {
  const greeted = new AbortController();
  const watch = watchBoot({ ...options, signal: AbortSignal.any([greeted.signal, options.signal]) });
  try {
    return await boot(() => greeted.abort());
  } finally {
    greeted.abort();
    await watch;
  }
}
