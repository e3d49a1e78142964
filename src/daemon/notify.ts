import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/**
 * Tells the service manager (systemd's `Type=notify`) how the daemon is: `READY=1`, `STOPPING=1`. Does nothing where
 * there is none. The protocol is a datagram to the socket that NOTIFY_SOCKET names (sd_notify(3)).
 */
export async function notify(state: string, log: Logger): Promise<void> {
  const path = process.env.NOTIFY_SOCKET;
  if (!path) return;
  try {
    const { sendDatagram } = await import('../host/datagram.ts');
    await sendDatagram(path, state);
  } catch (error) {
    log.warn({ err: error }, `cannot notify the service manager at ${path}: ${messageOf(error)}`);
  }
}
