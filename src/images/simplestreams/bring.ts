import { chooseReference } from './name.ts';
import type { RootArchive } from '../distribution/import.ts';
import type { ContentStore, Descriptor } from '../content-store.ts';
import { isIsleError, isleError } from '../../lib/errors.ts';
import type { Progress } from '../images.ts';
import { hostPlatform, parsePlatform } from '../platform.ts';
import type { Connections } from '../registry/connections.ts';
import { downloadBlob } from '../registry/download.ts';
import { findProduct, type Item, newestOffer } from './catalogue.ts';
import { StreamsServer } from './server.ts';

/** Bytes of a metadata tarball. */
const metadataLimit = 4 << 20;

export interface BringOptions {
  platform?: string;
  onProgress: (line: Progress) => void;
  signal?: AbortSignal;
}

/**
 * Downloads the newest version of `image` (`debian/12`) from a simplestreams server into the content store, verified and
 * resumable like the layers of a pull; the caller has pinned the store. What is stored is only needed for the import.
 */
export async function bringFromServer(
  parts: { content: ContentStore; connections: Connections },
  { server: from, image }: { server: string; image: string },
  options: BringOptions,
): Promise<{ archive: RootArchive; ref: string }> {
  const { onProgress, signal } = options;
  const platform = options.platform ? parsePlatform(options.platform) : hostPlatform();
  const server = new StreamsServer(parts.connections, from);
  onProgress({ status: `Looking for ${image} on ${server.host}` });
  const product = findProduct(await server.products(signal), image, platform, server.host);
  const offer = newestOffer(product, server.host);
  onProgress({
    status: `Importing ${product.os} ${product.release} (${product.variant}), version ${offer.version}`,
  });
  const [root, metadata] = await both(signal, [
    (until) => download(parts, server, offer.root, 'rootfs', { ...options, signal: until }),
    async (until) =>
      offer.metadata && download(parts, server, offer.metadata, 'metadata', { ...options, signal: until }),
  ]);
  onProgress({ status: 'Extracting', id: 'rootfs' });
  return {
    archive: {
      content: parts.content.open(root.digest),
      metadata: metadata && (await readSmall(parts.content, metadata)),
      comment: `${server.host} ${product.id} ${offer.version}`,
      platform: product.platform,
    },
    ref: chooseReference(server.host, product),
  };
}

/** Two things side by side; when one fails the other is ended, and this waits for that. */
async function both<A, B>(
  signal: AbortSignal | undefined,
  [one, other]: [(signal: AbortSignal) => Promise<A>, (signal: AbortSignal) => Promise<B>],
): Promise<[A, B]> {
  const failed = new AbortController();
  const until = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const ending = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      failed.abort(error);
      throw error;
    });
  const [first, second] = await Promise.allSettled([ending(one(until)), ending(other(until))]);
  if (first.status === 'rejected' || second.status === 'rejected') throw failed.signal.reason;
  return [first.value, second.value];
}

async function download(
  { content, connections }: { content: ContentStore; connections: Connections },
  server: StreamsServer,
  item: Item,
  id: string,
  { onProgress, signal }: BringOptions,
): Promise<Descriptor> {
  const blob = { digest: `sha256:${item.sha256}`, size: item.size, mediaType: item.kind };
  try {
    await downloadBlob(server.blobs(item), content, blob, {
      connections,
      signal,
      onProgress: (current) =>
        onProgress({ status: 'Downloading', id, progressDetail: { current, total: item.size } }),
      onRetry: (seconds) => onProgress({ status: `Retrying in ${seconds} seconds`, id }),
    });
  } catch (error) {
    throw server.explain(error);
  }
  // What was here already was never compared with the size that the server told.
  if (content.size(blob.digest) !== item.size)
    throw isleError('blobMismatch', { digest: blob.digest, why: `it does not have ${item.size} bytes` });
  onProgress({ status: 'Download complete', id });
  return blob;
}

async function readSmall(content: ContentStore, { digest, size }: Descriptor): Promise<Buffer> {
  if (size > metadataLimit)
    throw isleError('invalidArchive', { why: `its metadata has ${size} bytes, more than ${metadataLimit}` });
  try {
    return await content.read(digest, metadataLimit);
  } catch (error) {
    if (isIsleError(error)) throw error;
    throw isleError('invalidArchive', { why: 'its metadata cannot be read' }, error);
  }
}
