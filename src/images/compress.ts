import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { failpoint } from '../lib/failpoint.ts';
import type { ContentStore, Descriptor } from './content-store.ts';
import type { ImageRecord } from './image-index.ts';
import { layerKind, mediaTypes } from './media-types.ts';

/**
 * The image with its plain tar layers (made here, by commit or import) gzip-compressed, and the manifest for it.
 * The same image when nothing is to do. zlib works on the thread pool, not on the event loop.
 */
export async function compressLayers(
  content: ContentStore,
  image: ImageRecord,
  signal?: AbortSignal,
): Promise<ImageRecord> {
  if (!image.layers.some((layer) => layerKind(layer.mediaType) === 'tar')) return image;
  const layers = [];
  for (const layer of image.layers)
    layers.push(
      layerKind(layer.mediaType) === 'tar'
        ? { ...layer, ...(await compress(content, layer, signal)) }
        : layer,
    );
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: descriptorOf(image.configDescriptor, mediaTypes.ociConfig),
      layers: layers.map((layer) => descriptorOf(layer, layer.mediaType)),
    }),
  );
  const digest = await content.put(bytes);
  return { ...image, layers, manifest: { digest, size: bytes.length, mediaType: mediaTypes.ociManifest } };
}

async function compress(content: ContentStore, layer: Descriptor, signal?: AbortSignal): Promise<Descriptor> {
  await using scratch = await content.scratch();
  const file = join(scratch.path, 'layer.tar.gz');
  const hash = createHash('sha256');
  let size = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  const gzip = createGzip({ level: 6, chunkSize: 256 * 1024 });
  failpoint('images.compress.before');
  await pipeline(content.open(layer.digest), gzip, measure, createWriteStream(file), { signal });
  failpoint('images.compress.after');
  const digest = `sha256:${hash.digest('hex')}`;
  await content.adopt(file, { digest, size });
  return { digest, size, mediaType: mediaTypes.ociLayerGzip };
}

function descriptorOf({ digest, size }: Descriptor, mediaType: string): Descriptor {
  return { mediaType, digest, size };
}
