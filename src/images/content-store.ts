import type { Readable } from 'node:stream';

/** What names a blob: its digest (`sha256:…`), its size in bytes and its media type. */
export interface Descriptor {
  digest: string;
  size: number;
  mediaType: string;
}

/**
 * The contract of the content-addressed store: `blobs/sha256/<hex>` under the data root. A blob is visible only
 * when it was verified, written (tmp → fsync → rename → fsync of the directory) and recorded.
 */
export interface ContentStore {
  has(digest: string): boolean;

  /** Size in bytes, or undefined when it is not there. */
  size(digest: string): number | undefined;

  /** Path of a blob that is there. */
  path(digest: string): string;

  /** A whole small blob (manifest, configuration); verified again while reading. Throws when over `limit` bytes. */
  read(digest: string, limit?: number): Promise<Buffer>;

  /**
   * Verified while streaming: a damaged blob is set aside and the stream fails with `blobCorrupt` before its end, so that
   * the next pull replaces it.
   */
  open(digest: string): Readable;

  /** What an unpacker reads. A blob that is not there throws `noSuchBlob`. */
  source(digest: string): BlobSource;

  /** Reads the blob again. False when it was damaged; it is then set aside. */
  verify(digest: string): Promise<boolean>;

  /**
   * Starts or continues the blob `expected`. Bytes that an interrupted try left are kept and counted in `offset`.
   * Two ingests of one digest at a time share one writer: the second waits and then finds it done.
   */
  ingest(expected: Descriptor): Promise<Ingest>;

  /** Stores bytes at hand (a manifest, a configuration just made). Returns its digest. */
  put(content: Buffer): Promise<string>;

  /** Stores a stream whose digest nobody knows yet (a layer being made). The last bytes are in when it resolves. */
  putStream(source: AsyncIterable<Uint8Array>): Promise<{ digest: string; size: number }>;

  /** An empty directory on the store's file system; what is left in it goes with it, or with the next start. */
  scratch(): Promise<{ path: string } & AsyncDisposable>;

  /** Takes over a file of a scratch directory whose digest and size were computed while it was written. */
  adopt(path: string, blob: { digest: string; size: number }): Promise<void>;

  delete(digest: string): Promise<void>;

  /** Digests and sizes of everything in the store. */
  all(): { digest: string; size: number }[];

  /** Sweeps partial files older than what `recover` may resume, and records without files. */
  recover(): Promise<void>;
}

/** A blob's file, whole or still growing. */
export interface BlobSource {
  path: string;
  /** Where the file goes when it is whole: it may have moved before the reader opens it. */
  finalPath?: string;
  /** Bytes the blob has when it is whole. */
  size: number;
  /**
   * Set while the blob is being downloaded into `path`: one BigInt64 that counts the bytes there; negative when they
   * were dropped or the download was given up. Changes are notified (`Atomics.notify`).
   */
  written?: SharedArrayBuffer;
}

export interface Ingest {
  /** True when the blob is there already: nothing to write. */
  readonly done: boolean;
  /** Bytes already here: ask the registry for the rest by Range. */
  readonly offset: number;
  /** For an unpacker that follows the download: its result counts only after `commit` succeeded. */
  source(): BlobSource;
  /** Drops what is here (the registry ignored the Range): offset becomes 0. */
  restart(): Promise<void>;
  /** Appends; hashing happens off the event loop or in small steps. May be called again after a failed stream. */
  write(source: AsyncIterable<Uint8Array>, onBytes?: (count: number) => void): Promise<void>;
  /** Verifies size and digest and makes the blob visible. Throws and drops the bytes when they do not match. */
  commit(): Promise<void>;
  /** Lets go without committing; the bytes stay for the next try. */
  close(): Promise<void>;
}
