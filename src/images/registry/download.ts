import { createHash } from 'node:crypto';
import { isIsleError, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { BlobSource, ContentStore, Descriptor, Ingest } from '../content-store.ts';
import { NetworkError, type Connections } from './connections.ts';
import type { BlobServer } from './blob-stream.ts';
import type { RemoteRepository } from './repository.ts';
import { withRetries } from './retry.ts';

const tries = 6;

export interface DownloadOptions {
  connections: Connections;
  signal?: AbortSignal;
  /** Bytes of the blob that are here, of its size. */
  onProgress?(current: number): void;
  onRetry?(seconds: number): void;
  /** What a reader can follow while the blob comes; not called when it is here. */
  onStart?(source: BlobSource): void;
}

/**
 * Brings one blob into the store: streamed, hashed on the way, resumed by Range after a broken connection or an
 * earlier attempt, and visible only when its digest and size are right. Throws `blobMismatch`, `diskFull`
 * and what the registry layer throws.
 */
export async function downloadBlob(
  repository: BlobServer,
  content: ContentStore,
  blob: Descriptor,
  options: DownloadOptions,
): Promise<void> {
  const ingest = await content.ingest(blob);
  const resumed = !ingest.done && ingest.offset > 0;
  try {
    if (ingest.done) return;
    failpoint('images.download.before');
    options.onStart?.(ingest.source());
    await fill(ingest, repository, blob, options);
    failpoint('images.download.after');
    await ingest.commit();
  } catch (error) {
    // On a full disk half a blob only stands in the way.
    if (options.signal?.aborted && isIsleError(options.signal.reason, 'diskFull')) await ingest.restart();
    // Bytes an earlier try left may be what is wrong: once more, from the start.
    if (!resumed || !isIsleError(error, 'blobMismatch')) throw error;
  } finally {
    await ingest.close();
  }
  if (!content.has(blob.digest)) await downloadBlob(repository, content, blob, options);
}

/**
 * A small blob (a configuration) into memory, verified; it is not stored. What is here already is read from the
 * store. Throws `blobMismatch` and what the registry layer throws.
 */
export async function fetchBlob(
  repository: RemoteRepository,
  content: ContentStore,
  blob: Descriptor,
  options: { connections: Connections; signal?: AbortSignal },
): Promise<Buffer> {
  if (content.has(blob.digest)) return content.read(blob.digest, blob.size);
  const { connections, signal } = options;
  const bytes = await withRetries(
    { timeouts: connections.timeouts, tries, signal, persistent: true },
    async () => {
      const { body } = await repository.blob(blob, 0, { signal });
      const pieces: Buffer[] = [];
      let length = 0;
      for await (const piece of body) {
        length += piece.length;
        if (length > blob.size)
          throw mismatch(blob, `more than the ${blob.size} bytes it should have were sent`);
        pieces.push(piece);
      }
      if (length < blob.size)
        throw new NetworkError(repository.ref.domain, 'the answer was cut short', undefined);
      return Buffer.concat(pieces);
    },
  );
  const actual = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (actual !== blob.digest) throw mismatch(blob, `its content has the digest ${actual}`);
  return bytes;
}

function mismatch(blob: Descriptor, why: string): Error {
  return isleError('blobMismatch', { digest: blob.digest, why });
}

async function fill(ingest: Ingest, repository: BlobServer, blob: Descriptor, options: DownloadOptions) {
  const { connections, signal } = options;
  let etag: string | undefined;
  let before = ingest.offset;
  const progressed = () => {
    const moved = ingest.offset - before >= 64 * 1024;
    before = ingest.offset;
    return moved;
  };
  const { onRetry } = options;
  await withRetries(
    { timeouts: connections.timeouts, tries, signal, persistent: true, progressed, onRetry },
    async () => {
      if (ingest.offset === blob.size && blob.size > 0) return;
      const stream = await repository.blob(blob, ingest.offset, { etag, signal });
      etag = stream.etag;
      if (stream.start !== ingest.offset) await ingest.restart();
      let current = stream.start;
      const count = (bytes: number) => options.onProgress?.((current += bytes));
      await ingest.write(stream.body, count);
      if (current < blob.size)
        throw new NetworkError(repository.ref.domain, 'the answer was cut short', undefined);
    },
  );
}
