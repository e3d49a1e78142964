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

  open(digest: string): Readable;

  /**
   * Starts or continues the blob `expected`. Bytes that an interrupted try left are kept and counted in `offset`.
   * Two ingests of one digest at a time share one writer: the second waits and then finds it done.
   */
  ingest(expected: Descriptor): Promise<Ingest>;

  /** Stores bytes at hand (a manifest, a configuration just made). Returns its digest. */
  put(content: Buffer): Promise<string>;

  delete(digest: string): Promise<void>;

  /** Digests and sizes of everything in the store. */
  all(): { digest: string; size: number }[];

  /** Sweeps partial files older than what `recover` may resume, and records without files. */
  recover(): Promise<void>;
}

export interface Ingest {
  /** True when the blob is there already: nothing to write. */
  readonly done: boolean;
  /** Bytes already here: ask the registry for the rest by Range. */
  readonly offset: number;
  /** Drops what is here (the registry ignored the Range): offset becomes 0. */
  restart(): Promise<void>;
  /** Appends; hashing happens off the event loop or in small steps. May be called again after a failed stream. */
  write(source: AsyncIterable<Uint8Array>, onBytes?: (count: number) => void): Promise<void>;
  /** Verifies size and digest and makes the blob visible. Throws and drops the bytes when they do not match. */
  commit(): Promise<void>;
  /** Lets go without committing; the bytes stay for the next try. */
  close(): Promise<void>;
}
