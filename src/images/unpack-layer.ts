import { isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Snapshots } from '../storage/snapshots.ts';
import type { BlobSource, ContentStore, Descriptor } from './content-store.ts';
import type { Unpacker } from './unpack/unpack.ts';

export interface UnpackParts {
  content: ContentStore;
  snapshots: Snapshots;
  unpacker: Unpacker;
}

/**
 * Unpacks a blob, whole or still coming, as a layer. Its content must have the diff id the configuration
 * promised; `until` (the layers below, the blob's verification) is waited for before it becomes visible. Throws
 * `digestMismatch`, `invalidLayer`, `diskFull`, and what `until` throws; nothing is left then.
 */
export async function unpackLayer(
  parts: UnpackParts,
  layer: Descriptor & { diffId: string; chainId: string; parent: string | undefined },
  options: UnpackLayerOptions,
): Promise<void> {
  const { snapshots, unpacker } = parts;
  const { signal, until, onProgress, source } = options;
  failpoint('images.unpack.before');
  const directory = await snapshots.beginLayer(layer.chainId);
  try {
    const { mediaType, diffId, parent } = layer;
    const target = directory.path;
    const unpacked = await unpacker.unpack({ blob: source, mediaType, target, signal, onProgress });
    if (unpacked.diffId !== diffId)
      throw isleError('digestMismatch', {
        what: `layer ${layer.digest}`,
        expected: diffId,
        actual: unpacked.diffId,
      });
    failpoint('images.unpack.after');
    await Promise.all((until ?? []).filter((below) => below !== undefined));
    signal?.throwIfAborted();
    const { size, implied } = unpacked;
    await snapshots.commitLayer(layer.chainId, { parent, diffId, size, implied });
  } catch (error) {
    await directory.abandon();
    throw error;
  }
}

export interface UnpackLayerOptions {
  source: BlobSource;
  signal?: AbortSignal;
  until?: (Promise<void> | undefined)[];
  onProgress?(current: number): void;
}
