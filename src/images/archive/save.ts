import { Readable } from 'node:stream';
import { tarEnd } from '../../lib/tar/writer.ts';
import type { ContentStore } from '../content-store.ts';
import { archiveDocuments, archiveMember, blobPath, type ArchivedImage } from './layout.ts';

/**
 * A docker-archive that is also an OCI layout. Blobs that several images share are in it once; each is verified while it
 * is read, so that a damaged one fails the stream instead of being saved.
 */
export function saveImages(content: ContentStore, images: ArchivedImage[], signal?: AbortSignal): Readable {
  const stream = Readable.from(members(content, images), { objectMode: false, highWaterMark: 1 << 20 });
  const abort = (): void => void stream.destroy(signal?.reason instanceof Error ? signal.reason : undefined);
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  stream.once('close', () => signal?.removeEventListener('abort', abort));
  return stream;
}

async function* members(content: ContentStore, images: ArchivedImage[]): AsyncGenerator<Buffer> {
  const blobs = new Map(
    images.flatMap(({ layers, config, manifest }) =>
      [...layers, config, manifest].map(({ digest }) => [digest, content.source(digest).size] as const),
    ),
  );
  for (const [digest, size] of blobs) yield* archiveMember(blobPath(digest), size, content.open(digest));
  for (const [name, document] of archiveDocuments(images))
    yield* archiveMember(name, document.length, [document]);
  yield tarEnd();
}
