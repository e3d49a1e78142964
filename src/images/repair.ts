import type { Logger } from '../lib/log.ts';
import type { Snapshots } from '../storage/snapshots.ts';
import type { ContentStore } from './content-store.ts';
import type { ImageIndex, ImageRecord } from './image-index.ts';
import { familiarName } from './reference.ts';
import { unpackLayer } from './unpack-layer.ts';
import type { Unpacker } from './unpack/unpack.ts';

export interface RepairParts {
  index: ImageIndex;
  content: ContentStore;
  snapshots: Snapshots;
  unpacker: Unpacker;
  log: Logger;
}

/**
 * Makes the index agree with the disk after a crash or a loss: a layer that is gone is unpacked again from its
 * blob; an image that cannot be made whole is forgotten, and said so.
 */
export async function repair(parts: RepairParts): Promise<void> {
  for (const image of parts.index.all()) {
    try {
      await repairImage(parts, image);
    } catch (error) {
      const names = parts.index.namesOf(image.id).map(familiarName);
      parts.log.warn(
        { image: image.id, names, err: error },
        'image is damaged and was removed: pull it again',
      );
      parts.index.delete(image.id);
    }
  }
}

async function repairImage(parts: RepairParts, image: ImageRecord): Promise<void> {
  const { content, snapshots } = parts;
  const blobs = [image.manifest, image.configDescriptor, ...image.layers];
  const lost = blobs.find((blob) => !content.has(blob.digest));
  if (lost) throw new Error(`blob ${lost.digest} is missing`);
  let parent: string | undefined;
  for (const layer of image.layers) {
    if (!snapshots.hasLayer(layer.chainId))
      await unpackLayer(parts, { ...layer, parent }, { source: content.source(layer.digest) });
    parent = layer.chainId;
  }
}
