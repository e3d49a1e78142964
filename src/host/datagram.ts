import { nativeCalls } from './native.ts';

interface Calls {
  connectUnix(path: string, type: number, timeout: number): Promise<number>;
  send(fd: number, buffer: Buffer, offset: number, length: number): number;
  closeFdSync(fd: number): void;
}

const calls = nativeCalls<Calls>()('connectUnix', 'send', 'closeFdSync');

const SOCK_DGRAM = 2;
/** Milliseconds. */
const patience = 1000;

/** Sends one datagram to the UNIX socket at `path` (a leading `@` is the abstract namespace). Rejects with the system error. */
export async function sendDatagram(path: string, text: string): Promise<void> {
  const fd = await calls.connectUnix(path, SOCK_DGRAM, patience);
  try {
    const bytes = Buffer.from(text);
    calls.send(fd, bytes, 0, bytes.length);
  } finally {
    calls.closeFdSync(fd);
  }
}
