import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { Logger } from '../../lib/log.ts';
import type { Table } from '../../lib/table.ts';

export interface BlobRecord {
  digest: string;
  size: number;
}

/** The directories of the content store, and the steps that make a file in them a blob. */
export class BlobFiles {
  readonly blobs: string;
  readonly partial: string;
  readonly records: Table<BlobRecord>;
  readonly log: Logger;
  readonly #aside: string;
  #directorySync: { running: Promise<void>; next: Promise<void> | undefined } | undefined;

  constructor(dataRoot: string, records: Table<BlobRecord>, log: Logger) {
    this.blobs = join(dataRoot, 'blobs', 'sha256');
    this.partial = join(dataRoot, 'ingest');
    this.#aside = join(dataRoot, 'blobs', 'damaged');
    this.records = records;
    this.log = log;
  }

  /** Throws `blobMismatch` for anything but `sha256:` and 64 hexadecimal digits, so that it may become a path. */
  pathOf(digest: string): string {
    return join(this.blobs, hexOf(digest));
  }

  partialPathOf(digest: string): string {
    return join(this.partial, hexOf(digest));
  }

  /** A verified file that was written and synced becomes the blob `digest`: visible, durable and recorded. */
  async publish(path: string, digest: string, size: number): Promise<void> {
    failpoint('content.rename.before');
    await rename(path, this.pathOf(digest));
    failpoint('content.rename.after');
    await this.#syncDirectory();
    failpoint('content.record.before');
    this.records.put(digest, { digest, size });
    failpoint('content.record.after');
  }

  /** A small blob from memory. */
  async write(digest: string, content: Buffer): Promise<void> {
    const path = `${this.partialPathOf(digest)}.put-${randomBytes(4).toString('hex')}`;
    try {
      failpoint('content.put.before');
      await using file = await open(path, 'wx', 0o600);
      await file.writeFile(content);
      await file.datasync();
      failpoint('content.put.after');
      await this.publish(path, digest, content.length);
    } catch (error) {
      await rm(path, { force: true });
      throw this.explain(error, 'writing an image');
    }
  }

  /** Writes a stream to `path` and tells what it was. */
  async spool(source: AsyncIterable<Uint8Array>, path: string): Promise<BlobRecord> {
    const hash = createHash('sha256');
    let size = 0;
    const measured = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of source) {
        hash.update(piece);
        size += piece.length;
        yield piece;
      }
    };
    try {
      failpoint('content.spool.before');
      await pipeline(measured(), createWriteStream(path, { mode: 0o600, highWaterMark: 1 << 20 }));
      failpoint('content.spool.after');
    } catch (error) {
      throw this.explain(error, 'storing an image layer');
    }
    return { digest: `sha256:${hash.digest('hex')}`, size };
  }

  /** A directory among the partial files, whose name no blob can have: it is swept with them. */
  async scratch(): Promise<{ path: string } & AsyncDisposable> {
    const path = await mkdtemp(join(this.partial, 'scratch-')).catch((error: unknown) => {
      throw this.explain(error, 'storing an image');
    });
    return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
  }

  async adopt(path: string, { digest, size }: BlobRecord): Promise<void> {
    try {
      await using file = await open(path, 'r+');
      await file.datasync();
      await this.publish(path, digest, size);
    } catch (error) {
      throw this.explain(error, 'storing an image layer');
    }
  }

  /** The record goes first: a crash in between leaves a file that nobody names, which the image service sweeps. */
  async remove(digest: string): Promise<void> {
    failpoint('content.delete.before');
    this.records.delete(digest);
    failpoint('content.delete.recorded');
    await rm(this.pathOf(digest), { force: true });
    failpoint('content.delete.after');
  }

  /** Takes a damaged blob out of sight, keeps it for a look, and returns the error to throw. */
  async setAside(digest: string, why: string): Promise<Error> {
    const aside = join(this.#aside, `${hexOf(digest)}-${Date.now()}`);
    this.records.delete(digest);
    await mkdir(this.#aside, { recursive: true, mode: 0o700 });
    await rename(this.pathOf(digest), aside).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error;
    });
    this.log.error({ digest, aside, why }, 'a blob was damaged on disk and set aside');
    return isleError('blobCorrupt', { digest, why, aside });
  }

  /** Names the disk when it is full; other errors pass. */
  explain(error: unknown, what: string): unknown {
    const code = errnoOf(error);
    if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
    return isleError('diskFull', { path: this.blobs, what }, error);
  }

  /** One fsync serves everyone who asked before it began. */
  #syncDirectory(): Promise<void> {
    const current = this.#directorySync;
    if (current === undefined) return this.#startSync();
    current.next ??= current.running.then(
      () => this.#startSync(),
      () => this.#startSync(),
    );
    return current.next;
  }

  #startSync(): Promise<void> {
    const running = syncDirectory(this.blobs);
    const state = { running, next: undefined };
    this.#directorySync = state;
    const clear = (): void => {
      if (this.#directorySync === state && state.next === undefined) this.#directorySync = undefined;
    };
    running.then(clear, clear);
    return running;
  }
}

export function hexOf(digest: string): string {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) {
    throw isleError('blobMismatch', { digest, why: 'only sha256 digests in lower case are supported' });
  }
  return digest.slice(7);
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}
