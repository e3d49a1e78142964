import { errnoOf, isIsleError, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { ContentStore, Descriptor, Ingest } from '../content-store.ts';
import { NetworkError, type Connections } from './connections.ts';
import type { RemoteRepository } from './repository.ts';
import { withRetries } from './retry.ts';

const tries = 6;

export interface DownloadOptions {
  connections: Connections;
  signal?: AbortSignal;
  /** Bytes of the blob that are here, of its size. */
  onProgress?(current: number): void;
  onRetry?(seconds: number): void;
}

/**
 * Brings one blob into the store: streamed, hashed on the way, resumed by Range after a broken connection or an
 * earlier attempt, and visible only when its digest and size are right. Throws `digestMismatch`, `blobUnknown`
 * and what the registry layer throws.
 */
export async function downloadBlob(
  repository: RemoteRepository,
  content: ContentStore,
  blob: Descriptor,
  options: DownloadOptions,
): Promise<void> {
  const ingest = await content.ingest(blob);
  const resumed = !ingest.done && ingest.offset > 0;
  try {
    if (ingest.done) return;
    failpoint('images.download.before');
    await fill(ingest, repository, blob, options);
    failpoint('images.download.after');
    await ingest.commit();
  } catch (error) {
    // Bytes an earlier try left may be what is wrong: once more, from the start.
    if (!resumed || !isIsleError(error, 'digestMismatch')) throw await freeOnFullDisk(ingest, error);
  } finally {
    await ingest.close();
  }
  if (!content.has(blob.digest)) await downloadBlob(repository, content, blob, options);
}

async function fill(
  ingest: Ingest,
  repository: RemoteRepository,
  blob: Descriptor,
  options: DownloadOptions,
) {
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
      await ingest.write(atMost(stream.body, blob.size - stream.start, blob), count);
      if (current < blob.size)
        throw new NetworkError(repository.ref.domain, 'the answer was cut short', undefined);
    },
  );
}

/** A sender must not fill the disk with more than the manifest announced. */
async function* atMost(
  source: AsyncIterable<Buffer>,
  limit: number,
  blob: Descriptor,
): AsyncGenerator<Buffer> {
  let left = limit;
  for await (const chunk of source) {
    left -= chunk.length;
    if (left < 0)
      throw isleError('digestMismatch', {
        what: `blob ${blob.digest}`,
        expected: `${blob.size} bytes`,
        actual: 'longer',
      });
    yield chunk;
  }
}

/** On a full disk half a blob only stands in the way. */
async function freeOnFullDisk(ingest: Ingest, error: unknown): Promise<unknown> {
  if (errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT') await ingest.restart();
  return error;
}
