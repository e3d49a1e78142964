import type { IncomingMessage } from 'node:http';
import { NetworkError } from './connections.ts';
import type { RegistryTimeouts } from './config.ts';

/**
 * The bytes of an answer, with a guard against a sender that stalls or trickles: fewer than `minBytes` in
 * `stall` milliseconds end it with a NetworkError. Time the reader takes does not count.
 */
export async function* guardedBody(
  response: IncomingMessage,
  host: string,
  timeouts: RegistryTimeouts,
): AsyncGenerator<Buffer> {
  let received = 0;
  let busy = 0;
  let busySince: number | undefined;
  const timer = setInterval(() => {
    const readerHeldUp = busySince !== undefined || busy > timeouts.stall / 2;
    if (!readerHeldUp && received < timeouts.minBytes) {
      const why = `less than ${timeouts.minBytes} bytes came in ${timeouts.stall / 1000} s`;
      response.destroy(new NetworkError(host, why, undefined));
    }
    received = busy = 0;
  }, timeouts.stall);
  try {
    for await (const chunk of response) {
      const bytes = chunk as Buffer;
      received += bytes.length;
      busySince = performance.now();
      yield bytes;
      busy += performance.now() - busySince;
      busySince = undefined;
    }
    if (!response.complete) throw new NetworkError(host, 'the answer was cut short', undefined);
  } catch (error) {
    throw error instanceof NetworkError || response.complete
      ? error
      : new NetworkError(host, 'the answer was cut short', error);
  } finally {
    clearInterval(timer);
    response.destroy();
  }
}

/** A whole small body. Returns undefined when it is larger than `limit` bytes; it is then not read on. */
export async function readBody(
  response: IncomingMessage,
  host: string,
  limit: number,
  timeouts: RegistryTimeouts,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  if (Number(response.headers['content-length'] ?? 0) > limit) {
    response.destroy();
    return undefined;
  }
  const deadline = Date.now() + timeouts.headers * 2;
  for await (const chunk of guardedBody(response, host, timeouts)) {
    length += chunk.length;
    if (length > limit) return undefined;
    if (Date.now() > deadline) throw new NetworkError(host, 'the answer came too slowly', undefined);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Lets go of an answer whose body nobody needs, keeping the connection when the body is small. */
export function discard(response: IncomingMessage): void {
  const length = Number(response.headers['content-length'] ?? Number.NaN);
  response.on('error', () => undefined);
  if (length <= 16_384) response.resume();
  else response.destroy();
}
