import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { BlobSource, Descriptor, Ingest } from '../content-store.ts';
import type { BlobFiles } from './blob-files.ts';

/** Bytes gathered before a write: each write is a trip to the thread pool. */
const batch = 1 << 18;

/** A blob on its way in: `ingest/<hex>`, which a later try goes on with. */
export class IngestFile implements Ingest {
  readonly done = false;
  readonly #files: BlobFiles;
  readonly #expected: Descriptor;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #release: () => void;
  readonly #written = new SharedArrayBuffer(8);
  #hash: Hash = createHash('sha256');
  #offset = 0;
  #closed = false;

  /** Opens what an earlier try left and hashes it again. `release` is called when the ingest ends, however it ends. */
  static async open(files: BlobFiles, expected: Descriptor, release: () => void): Promise<IngestFile> {
    const path = files.partialPathOf(expected.digest);
    failpoint('content.ingest.before');
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const file = await open(path, flags, 0o600).catch((error: unknown) => {
      throw files.explain(error, 'storing an image layer');
    });
    failpoint('content.ingest.after');
    const ingest = new IngestFile(files, expected, path, file, release);
    try {
      await ingest.#resume();
      return ingest;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  private constructor(
    files: BlobFiles,
    expected: Descriptor,
    path: string,
    file: FileHandle,
    release: () => void,
  ) {
    this.#files = files;
    this.#expected = expected;
    this.#path = path;
    this.#file = file;
    this.#release = release;
  }

  get offset(): number {
    return this.#offset;
  }

  source(): BlobSource {
    const { digest, size } = this.#expected;
    return { path: this.#path, finalPath: this.#files.pathOf(digest), size, written: this.#written };
  }

  async restart(): Promise<void> {
    if (this.#offset === 0) return;
    await this.#file.truncate(0);
    this.#hash = createHash('sha256');
    this.#advance(-this.#offset);
  }

  async write(source: AsyncIterable<Uint8Array>, onBytes?: (count: number) => void): Promise<void> {
    let waiting: Uint8Array[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      if (bytes === 0) return;
      const pieces = waiting;
      const count = bytes;
      waiting = [];
      bytes = 0;
      await this.#append(pieces, count);
    };
    try {
      for await (const piece of source) {
        waiting.push(piece);
        bytes += piece.length;
        if (this.#offset + bytes > this.#expected.size) throw await this.#tooLong();
        if (bytes >= batch) await flush();
        onBytes?.(piece.length);
      }
      await flush();
    } catch (error) {
      // What came before a broken connection is good for the next try.
      if (!this.#closed && errnoOf(error) !== 'ENOSPC') await flush();
      throw await this.#explain(error);
    }
  }

  async commit(): Promise<void> {
    const { digest, size } = this.#expected;
    try {
      if (this.#offset !== size)
        throw await this.#mismatch(`it has ${this.#offset} bytes instead of ${size}`);
      const actual = `sha256:${this.#hash.digest('hex')}`;
      if (actual !== digest) throw await this.#mismatch(`its content has the digest ${actual}`);
      failpoint('content.sync.before');
      await this.#file.datasync();
      failpoint('content.sync.after');
      await this.#files.publish(this.#path, digest, size);
      this.#closed = true;
      await this.#file.close();
    } catch (error) {
      throw await this.#explain(error);
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      if (this.#offset < this.#expected.size) this.#giveUp();
      await this.#file.close();
    }
    this.#release();
  }

  async #resume(): Promise<void> {
    const { size } = await this.#file.stat();
    if (size > this.#expected.size) return this.#file.truncate(0);
    const buffer = Buffer.allocUnsafe(batch);
    while (this.#offset < size) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#offset);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#offset += bytesRead;
    }
    this.#advance(0);
  }

  async #append(pieces: Uint8Array[], count: number): Promise<void> {
    failpoint('content.write.before');
    let done = 0;
    let rest = pieces;
    while (done < count) {
      const { bytesWritten } = await this.#file.writev(rest, this.#offset + done);
      done += bytesWritten;
      if (done < count) rest = dropFront(pieces, done);
    }
    failpoint('content.write.after');
    for (const piece of pieces) this.#hash.update(piece);
    this.#advance(count);
  }

  #advance(count: number): void {
    this.#offset += count;
    const counter = new BigInt64Array(this.#written);
    Atomics.store(counter, 0, BigInt(this.#offset));
    Atomics.notify(counter, 0);
  }

  #giveUp(): void {
    const counter = new BigInt64Array(this.#written);
    Atomics.store(counter, 0, -1n);
    Atomics.notify(counter, 0);
  }

  #tooLong(): Promise<Error> {
    return this.#mismatch(`more than the ${this.#expected.size} bytes it should have were sent`);
  }

  /** Bytes that cannot be right are dropped. */
  async #mismatch(why: string): Promise<Error> {
    await this.#drop();
    return isleError('blobMismatch', { digest: this.#expected.digest, why });
  }

  async #drop(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#giveUp();
    await this.#file.close();
    await rm(this.#path, { force: true });
  }

  /** On a full disk the partial file goes too: its room may be what others need. */
  async #explain(error: unknown): Promise<unknown> {
    const explained = this.#files.explain(error, 'storing an image layer');
    if (explained !== error) await this.#drop();
    return explained;
  }
}

/** For a blob that is there already. */
export function finishedIngest(source: BlobSource): Ingest {
  return {
    done: true,
    offset: source.size,
    source: () => source,
    restart: async () => {},
    write: async () => {},
    commit: async () => {},
    close: async () => {},
  };
}

function dropFront(pieces: Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  for (const piece of pieces) {
    if (count >= piece.length) count -= piece.length;
    else {
      rest.push(piece.subarray(count));
      count = 0;
    }
  }
  return rest;
}
