import { frameType, headerSize } from '../protocol.ts';
import { encodeFields } from './fields.ts';

/** Longer than any `welcome`: more than this of what comes before it is never kept. */
const limit = 4096;

/**
 * Finds the `welcome` that carries a nonce in whatever comes before it: the rest of a frame that was meant for a former
 * daemon may be first, so that the stream has no known frame boundary yet.
 */
export class WelcomeFinder {
  #mark: Buffer;
  #kept: Buffer = Buffer.alloc(0);

  constructor(nonce: string) {
    this.#mark = encodeFields([['nonce', nonce]]);
  }

  /** The welcome's payload and what came after it; undefined: not yet. */
  push(chunk: Buffer): { payload: Buffer; rest: Buffer } | undefined {
    const bytes = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    for (let at = bytes.indexOf(this.#mark); at !== -1; at = bytes.indexOf(this.#mark, at + 1)) {
      const length = payloadLength(bytes, at - headerSize);
      if (length === undefined) continue;
      if (at + length <= bytes.length)
        return { payload: bytes.subarray(at, at + length), rest: bytes.subarray(at + length) };
    }
    this.#kept = bytes.subarray(Math.max(0, bytes.length - limit));
    return undefined;
  }
}

/** Of the frame at `start`, when that is a welcome. */
function payloadLength(bytes: Buffer, start: number): number | undefined {
  if (start < 0) return undefined;
  const length = bytes.readUInt32LE(start);
  const fits = length <= limit - headerSize;
  const welcome = bytes.readUInt32LE(start + 4) === 0 && bytes.readUInt8(start + 8) === frameType.welcome;
  return fits && welcome ? length : undefined;
}
