import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { ContentStore, Descriptor } from './content-store.ts';
import type { ImageRecord } from './image-index.ts';
import { layerKind, mediaTypes } from './media-types.ts';

/** Where layers are compressed; swept on start. */
export function scratchRoot(dataRoot: string): string {
  return join(dataRoot, 'push');
}

/**
 * The image with its plain tar layers (made here, by commit or import) gzip-compressed, and the manifest for it.
 * The same image when nothing is to do. zlib works on the thread pool, not on the event loop.
 */
export async function compressLayers(
  content: ContentStore,
  image: ImageRecord,
  dataRoot: string,
  signal?: AbortSignal,
): Promise<ImageRecord> {
  if (!image.layers.some((layer) => layerKind(layer.mediaType) === 'tar')) return image;
  const layers = [];
  for (const layer of image.layers)
    layers.push(
      layerKind(layer.mediaType) === 'tar'
        ? { ...layer, ...(await compress(content, layer, dataRoot, signal)) }
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

async function compress(
  content: ContentStore,
  layer: Descriptor,
  dataRoot: string,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const root = scratchRoot(dataRoot);
  await mkdir(root, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(join(root, 'layer-'));
  try {
    const file = join(dir, 'layer.tar.gz');
    const hash = createHash('sha256');
    let size = 0;
    const measure = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        size += chunk.length;
        done(null, chunk);
      },
    });
    await pipeline(
      content.open(layer.digest),
      createGzip({ level: 6, chunkSize: 256 * 1024 }),
      measure,
      createWriteStream(file),
      { signal },
    );
    const packed = { digest: `sha256:${hash.digest('hex')}`, size, mediaType: mediaTypes.ociLayerGzip };
    const ingest = await content.ingest(packed);
    try {
      if (!ingest.done) {
        await ingest.restart();
        await ingest.write(createReadStream(file));
        await ingest.commit();
      }
    } finally {
      await ingest.close();
    }
    return packed;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function descriptorOf({ digest, size }: Descriptor, mediaType: string): Descriptor {
  return { mediaType, digest, size };
}
