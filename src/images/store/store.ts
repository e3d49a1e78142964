import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { isleError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Store } from '../../lib/table.ts';
import type { BlobSource, ContentStore, Descriptor, Ingest } from '../content-store.ts';
import { BlobFiles, type BlobRecord } from './blob-files.ts';
import { IngestFile, finishedIngest } from './ingest.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { readVerified, verifyBlob, verifyingStream } from './read.ts';
import { recoverBlobs } from './recover.ts';

export interface ContentStoreOptions {
  store: Store;
  /** Holds `blobs/` and `ingest/`. */
  dataRoot: string;
  log: Logger;
}

/** Manifests and configurations: Docker's own bound is 4 MiB. */
const readLimit = 4 << 20;

/** Blobs in `<dataRoot>/blobs/sha256/<hex>`; see {@link ContentStore} for the promises. */
export function createContentStore({ store, dataRoot, log }: ContentStoreOptions): ContentStore {
  const files = new BlobFiles(dataRoot, store.table<BlobRecord>('blobs'), log);
  for (const path of [files.blobs, files.partial]) mkdirSync(path, { recursive: true, mode: 0o700 });
  return new FileContentStore(files);
}

class FileContentStore implements ContentStore {
  readonly #files: BlobFiles;
  readonly #lock = new KeyedLock();

  constructor(files: BlobFiles) {
    this.#files = files;
  }

  has(digest: string): boolean {
    return this.#files.records.get(digest) !== undefined;
  }

  size(digest: string): number | undefined {
    return this.#files.records.get(digest)?.size;
  }

  path(digest: string): string {
    this.#record(digest);
    return this.#files.pathOf(digest);
  }

  source(digest: string): BlobSource {
    return { path: this.path(digest), size: this.#record(digest).size };
  }

  async read(digest: string, limit = readLimit): Promise<Buffer> {
    const { size } = this.#record(digest);
    if (size > limit) {
      throw isleError('blobMismatch', {
        digest,
        why: `it has ${size} bytes, more than the ${limit} it may have`,
      });
    }
    return readVerified(this.#files, digest);
  }

  open(digest: string): Readable {
    this.#record(digest);
    return verifyingStream(this.#files, digest);
  }

  async verify(digest: string): Promise<boolean> {
    this.#record(digest);
    return verifyBlob(this.#files, digest);
  }

  async ingest(expected: Descriptor): Promise<Ingest> {
    const path = this.#files.pathOf(expected.digest);
    if (!Number.isSafeInteger(expected.size) || expected.size < 0) {
      throw isleError('blobMismatch', {
        digest: expected.digest,
        why: `its size ${expected.size} is not valid`,
      });
    }
    const release = await this.#lock.acquire(expected.digest);
    try {
      if (this.has(expected.digest)) {
        release();
        return finishedIngest({ path, size: this.#record(expected.digest).size });
      }
      return await IngestFile.open(this.#files, expected, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  async put(content: Buffer): Promise<string> {
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    const release = await this.#lock.acquire(digest);
    try {
      if (!this.has(digest)) await this.#files.write(digest, content);
      return digest;
    } finally {
      release();
    }
  }

  async putStream(source: AsyncIterable<Uint8Array>): Promise<{ digest: string; size: number }> {
    await using scratch = await this.scratch();
    const path = join(scratch.path, 'blob');
    const blob = await this.#files.spool(source, path);
    await this.adopt(path, blob);
    return blob;
  }

  scratch(): Promise<{ path: string } & AsyncDisposable> {
    return this.#files.scratch();
  }

  async adopt(path: string, blob: { digest: string; size: number }): Promise<void> {
    const release = await this.#lock.acquire(blob.digest);
    try {
      if (!this.has(blob.digest)) await this.#files.adopt(path, blob);
    } finally {
      release();
    }
  }

  async delete(digest: string): Promise<void> {
    const release = await this.#lock.acquire(digest);
    try {
      await this.#files.remove(digest);
    } finally {
      release();
    }
  }

  all(): { digest: string; size: number }[] {
    return this.#files.records.all();
  }

  recover(): Promise<void> {
    return recoverBlobs(this.#files);
  }

  #record(digest: string): BlobRecord {
    const record = this.#files.records.get(digest);
    if (record === undefined) throw isleError('noSuchBlob', { digest });
    return record;
  }
}
