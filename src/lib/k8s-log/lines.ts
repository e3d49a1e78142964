/** Bytes of the longest line believed: conmon writes at most 8 KiB and a header. */
const maxLine = 256 * 1024;

const newline = 0x0a;

/** Cuts chunks into lines; what has no newline yet waits for the next chunk. */
export class LineSplitter {
  #rest: Buffer | undefined;
  #skipping = false;

  *push(chunk: Buffer): Generator<Buffer> {
    let from = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
      const part = chunk.subarray(from, end);
      from = end + 1;
      if (this.#skipping) this.#skipping = false;
      else yield this.#rest ? Buffer.concat([this.#rest, part]) : part;
      this.#rest = undefined;
    }
    this.#keep(chunk.subarray(from));
  }

  /** Bytes that belong to no line yet. */
  get pending(): number {
    return this.#rest?.length ?? 0;
  }

  #keep(part: Buffer): void {
    if (part.length === 0 || this.#skipping) return;
    // A copy: the caller reads the next chunk into the same memory.
    this.#rest = this.#rest ? Buffer.concat([this.#rest, part]) : Buffer.from(part);
    if (this.#rest.length <= maxLine) return;
    this.#rest = undefined;
    this.#skipping = true;
  }
}
