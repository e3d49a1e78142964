import { randomUUID } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { explain } from './explain.ts';
import { refusal } from './refuse.ts';
import { newFile, readAt, type ApplianceFile } from './source.ts';

/** Where bytes of a disk lie in a file of it; `zero`: they read as zeros, whatever a layer below has. Bytes. */
export type Run = { to: number; length: number } & ({ from: number } | { zero: true });

/** A raw disk being put together of the parts that another format keeps it in; what nobody wrote is a hole. */
export class RawImage implements AsyncDisposable {
  readonly path: string;
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #signal: AbortSignal | undefined;

  static async create(directory: string, size: number, signal?: AbortSignal): Promise<RawImage> {
    const path = join(directory, `disk-${randomUUID()}.raw`);
    const handle = await newFile(path);
    try {
      await handle.truncate(size);
    } catch (error) {
      await handle.close();
      throw explain(error, path, path);
    }
    return new RawImage(path, handle, size, signal);
  }

  private constructor(path: string, handle: FileHandle, size: number, signal: AbortSignal | undefined) {
    this.path = path;
    this.size = size;
    this.#handle = handle;
    this.#signal = signal;
  }

  /**
   * Lays `runs` of `file` over what is there. Sound files hold each byte of a disk once: runs that read more than the file has
   * would fill the host's disk from a small file.
   */
  async lay(file: ApplianceFile, runs: AsyncIterable<Run>): Promise<void> {
    let read = 0;
    for await (const run of joined(runs)) {
      this.#signal?.throwIfAborted();
      if (run.to < 0 || run.to + run.length > this.size)
        throw refusal(file.name, `its tables lead to byte ${run.to + run.length} of a disk of ${this.size}`);
      if ('zero' in run) {
        await this.#clear(run.to, run.length);
        continue;
      }
      read += run.length;
      if (read > file.size) throw refusal(file.name, 'its tables lead to the same place again and again');
      await this.#copy(file, run.from, run.to, run.length);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  async #copy(file: ApplianceFile, from: number, to: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const piece = await file.read(from + done, Math.min(pieceSize, length - done));
      if (piece.length === 0)
        throw refusal(
          file.name,
          `it is cut short: it should have ${from + length} bytes and has ${file.size}`,
        );
      await this.write(to + done, piece, file.name);
      done += piece.length;
    }
  }

  /** Zeros over nothing stay a hole. */
  async write(to: number, piece: Buffer, name: string): Promise<void> {
    this.#signal?.throwIfAborted();
    if (isZero(piece)) return await this.#clear(to, piece.length);
    try {
      await this.#handle.write(piece, 0, piece.length, to);
    } catch (error) {
      throw explain(error, name, this.path);
    }
  }

  #mayHoldData = false;

  /** From now on there may be data below what is laid. */
  beginLayer(): void {
    this.#mayHoldData = true;
  }

  async #clear(to: number, length: number): Promise<void> {
    if (!this.#mayHoldData) return;
    for (let at = to; at < to + length; at += pieceSize) {
      this.#signal?.throwIfAborted();
      const count = Math.min(pieceSize, to + length - at);
      if (!isZero(await readAt(this.#handle, at, count))) await this.#handle.write(zeros, 0, count, at);
    }
  }
}

const pieceSize = 1 << 20;
const zeros = Buffer.alloc(pieceSize);

function isZero(piece: Buffer): boolean {
  return piece.length <= pieceSize && piece.equals(zeros.subarray(0, piece.length));
}

/** Neighbours on both sides become one. */
async function* joined(runs: AsyncIterable<Run>): AsyncGenerator<Run> {
  let last: Run | undefined;
  for await (const run of runs) {
    if (last && follows(last, run)) {
      last = { ...last, length: last.length + run.length };
      continue;
    }
    if (last) yield last;
    last = run;
  }
  if (last) yield last;
}

function follows(last: Run, next: Run): boolean {
  if (last.to + last.length !== next.to || last.length >= 64 << 20) return false;
  if ('zero' in last || 'zero' in next) return 'zero' in last && 'zero' in next;
  return last.from + last.length === next.from;
}
