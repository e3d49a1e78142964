import { isleError } from '../../../lib/errors.ts';
import { headerSize, maxPayload } from '../protocol.ts';

/** One message of {@link ../protocol.ts}; `type` may be one that this version does not know. */
export interface Frame {
  type: number;
  session: number;
  payload: Buffer;
}

/** The bytes of a frame. Throws `internal` when the payload is longer than a frame may be. */
export function encodeFrame(type: number, session: number, payload: Uint8Array = empty): Buffer {
  if (payload.length > maxPayload)
    throw isleError('internal', { message: `a frame of ${payload.length} bytes is too long for the guest` });
  const frame = Buffer.allocUnsafe(headerSize + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt32LE(session, 4);
  frame.writeUInt8(type, 8);
  frame.set(payload, headerSize);
  return frame;
}

/**
 * Finds frames in a stream of bytes however it was cut. Keeps at most one frame and what came with it; a frame whose
 * header promises more than {@link maxPayload} throws `guestBroken`, after which the stream is of no use.
 */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #size = 0;

  *push(chunk: Buffer): Generator<Frame> {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    let frame = this.#next();
    while (frame !== undefined) {
      yield frame;
      frame = this.#next();
    }
  }

  #next(): Frame | undefined {
    if (this.#size < headerSize) return undefined;
    if (this.#chunks[0]!.length < headerSize) this.#join();
    const header = this.#chunks[0]!;
    const length = header.readUInt32LE(0);
    if (length > maxPayload)
      throw isleError('guestBroken', { why: `it announced a message of ${length} bytes` });
    if (this.#size < headerSize + length) return undefined;
    if (header.length < headerSize + length) this.#join();
    return this.#take(headerSize + length);
  }

  #take(size: number): Frame {
    const first = this.#chunks[0]!;
    if (first.length === size) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(size);
    this.#size -= size;
    return {
      type: first.readUInt8(8),
      session: first.readUInt32LE(4),
      payload: first.subarray(headerSize, size),
    };
  }

  #join(): void {
    this.#chunks = [Buffer.concat(this.#chunks)];
  }
}

const empty = Buffer.alloc(0);
