import { Failure } from '../failure.ts';

/** Far above what the daemon sends in one frame. */
const largestFrame = 64 * 1024 * 1024;

export interface Sinks {
  stdout(data: Buffer): void;
  stderr(data: Buffer): void;
}

/**
 * Takes Docker's frames apart: stream byte, three zeros, big-endian length, payload. Payloads are passed on as
 * they arrive, without waiting for the whole frame.
 */
export class Demultiplexer {
  readonly #sinks: Sinks;
  #header = Buffer.alloc(0);
  #stream = 0;
  #left = 0;
  #system = '';

  constructor(sinks: Sinks) {
    this.#sinks = sinks;
  }

  write(chunk: Buffer): void {
    let data = chunk;
    while (data.length > 0) {
      if (this.#left === 0) {
        const header = Buffer.concat([this.#header, data.subarray(0, 8 - this.#header.length)]);
        data = data.subarray(8 - this.#header.length);
        this.#header = header;
        if (header.length < 8) return;
        this.#begin(header);
        this.#header = Buffer.alloc(0);
        continue;
      }
      const part = data.subarray(0, this.#left);
      data = data.subarray(part.length);
      this.#left -= part.length;
      this.#emit(part);
    }
  }

  #begin(header: Buffer): void {
    this.#stream = header[0]!;
    this.#left = header.readUInt32BE(4);
    if (
      this.#stream > 3 ||
      this.#left > largestFrame ||
      header[1] !== 0 ||
      header[2] !== 0 ||
      header[3] !== 0
    )
      throw new Failure('the engine sent a broken stream');
  }

  #emit(part: Buffer): void {
    if (this.#stream === 2) this.#sinks.stderr(part);
    else if (this.#stream !== 3) this.#sinks.stdout(part);
    else {
      this.#system += part.toString();
      if (this.#left === 0) throw new Failure(this.#system);
    }
  }
}
