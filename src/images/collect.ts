import { setImmediate as breathe } from 'node:timers/promises';
import { isIsleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Logger } from '../lib/log.ts';
import type { Snapshots } from '../storage/snapshots.ts';
import type { ContentStore } from './content-store.ts';
import type { ImageIndex } from './image-index.ts';
import type { Pins } from './pins.ts';

export interface CollectParts {
  index: ImageIndex;
  content: ContentStore;
  snapshots: Snapshots;
  pins: Pins;
  log: Logger;
}

/** One of these runs at a time. */
export class Collector {
  readonly #parts: CollectParts;
  #running: Promise<number> = Promise.resolve(0);

  constructor(parts: CollectParts) {
    this.#parts = parts;
  }

  /** Removes every blob and layer that no image, running work or container needs. Resolves with the bytes freed. */
  collect(): Promise<number> {
    const next = this.#running.then(
      () => collectGarbage(this.#parts),
      () => collectGarbage(this.#parts),
    );
    this.#running = next;
    return next;
  }
}

async function collectGarbage({ index, content, snapshots, pins, log }: CollectParts): Promise<number> {
  let freed = 0;
  const isNeeded = marker(index);
  for (const { digest, size } of content.all()) {
    if (isNeeded(digest)) continue;
    failpoint('images.collect-blob.before');
    if (await pins.unlessPinned(digest, () => content.delete(digest))) freed += size;
    failpoint('images.collect-blob.after');
    await breathe();
  }
  // A layer can go once nothing stands on it: from the top down, until a round finds none.
  for (let progress = true; progress; ) {
    progress = false;
    for (const { chainId, size, used } of snapshots.layers()) {
      if (used || isNeeded(chainId) || pins.has(chainId)) continue;
      failpoint('images.collect-layer.before');
      if (await removeLayer(chainId, snapshots, pins, log)) {
        freed += size;
        progress = true;
      }
      failpoint('images.collect-layer.after');
    }
  }
  return freed;
}

/** False when somebody came to stand on it meanwhile. */
async function removeLayer(chainId: string, snapshots: Snapshots, pins: Pins, log: Logger): Promise<boolean> {
  try {
    return await pins.unlessPinned(chainId, () => snapshots.removeLayer(chainId));
  } catch (error) {
    if (!isIsleError(error, 'conflict')) throw error;
    log.debug({ chainId, err: error }, 'layer is used, kept');
    return false;
  }
}

/** Whether an image needs a blob or layer; marks again when the index changed, for images come while others go. */
function marker(index: ImageIndex): (key: string) => boolean {
  let revision = index.revision;
  let marked = mark(index);
  return (key) => {
    if (index.revision !== revision) [revision, marked] = [index.revision, mark(index)];
    return marked.has(key);
  };
}

/** Digests and chain ids that images name. */
function mark(index: ImageIndex): Set<string> {
  const keys = new Set<string>();
  for (const image of index.all()) {
    keys.add(image.id).add(image.manifest.digest);
    for (const layer of image.layers) keys.add(layer.digest).add(layer.chainId);
  }
  return keys;
}
