import { isleError } from '../lib/errors.ts';
import type { Snapshots } from '../storage/snapshots.ts';
import { chainIds } from './chain-id.ts';
import { parseImageConfig } from './config-parse.ts';
import type { ContentStore, Descriptor } from './content-store.ts';
import type { ImageRecord } from './image-index.ts';
import { maxConfigBytes, maxManifestBytes, parseManifest, type ImageManifest } from './manifest.ts';

/**
 * Makes the record of an image whose manifest and configuration are in the content store and whose layers are
 * unpacked. Throws `invalidManifest`, `invalidImageConfig`, and `conflict` when a layer is not there.
 */
export async function imageRecord(
  parts: { content: ContentStore; snapshots: Snapshots },
  manifest: Descriptor,
  options: { parentId?: string } = {},
): Promise<ImageRecord> {
  const bytes = await parts.content.read(manifest.digest, maxManifestBytes);
  const parsed = parseManifest(bytes, manifest.mediaType, manifest.digest);
  if (parsed.kind !== 'image')
    throw isleError('invalidManifest', { digest: manifest.digest, why: 'it is an index, not an image' });
  const config = parseImageConfig(
    await parts.content.read(parsed.config.digest, maxConfigBytes),
    parsed.config.digest,
  );
  const layers = layersOf(parsed, config.diffIds).map((layer) => {
    if (!parts.snapshots.hasLayer(layer.chainId))
      throw isleError('conflict', { message: `layer ${layer.digest} of ${manifest.digest} is not unpacked` });
    return { ...layer, unpackedSize: parts.snapshots.layerSize(layer.chainId) };
  });
  const { digest: id } = parsed.config;
  return {
    ...config,
    id,
    manifest,
    configDescriptor: parsed.config,
    layers,
    parentId: options.parentId ?? '',
  };
}

/** The layers of a manifest with the diff ids its configuration names. Throws `invalidManifest`. */
export function layersOf(manifest: ImageManifest, diffIds: readonly string[]) {
  const { layers } = manifest;
  if (layers.length !== diffIds.length)
    throw isleError('invalidManifest', {
      digest: manifest.config.digest,
      why: `it has ${layers.length} layers, but its configuration names ${diffIds.length}`,
    });
  const chain = chainIds(diffIds);
  return layers.map(({ digest, size, mediaType }, i) => ({
    digest,
    size,
    mediaType,
    diffId: diffIds[i] as string,
    chainId: chain[i] as string,
  }));
}
