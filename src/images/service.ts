import { MemoryRelease } from '../host/memory.ts';
import { isIsleError, isleError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Store } from '../lib/table.ts';
import type { Snapshots } from '../storage/snapshots.ts';
import { Archives } from './archives.ts';
import { Collector } from './collect.ts';
import type { ContentStore } from './content-store.ts';
import { historyOf } from './history.ts';
import { ImageIndex } from './image-index.ts';
import type { Images, RemovedImage } from './images.ts';
import { login } from './login.ts';
import { Pins } from './pins.ts';
import { pruneIndex } from './prune.ts';
import { Puller } from './pull.ts';
import { Pusher } from './push.ts';
import { parseReference, withDefaultTag } from './reference.ts';
import type { RegistryConfig } from './registry/config.ts';
import { Connections } from './registry/connections.ts';
import { removeFromIndex } from './remove.ts';
import { repair } from './repair.ts';
import type { Unpacker } from './unpack/unpack.ts';
import { usageOf } from './usage.ts';

export interface ImagesOptions {
  store: Store;
  snapshots: Snapshots;
  content: ContentStore;
  unpacker: Unpacker;
  config: RegistryConfig;
  log: Logger;
}

/** The images of this engine: what they are called, where they come from and go to, and what they hold on disk. */
export function createImages(options: ImagesOptions): Images {
  const { store, snapshots, content, unpacker, config, log } = options;
  const index = new ImageIndex(store);
  const pins = new Pins();
  const connections = new Connections(config);
  const parts = { index, pins, connections, content, snapshots, unpacker, log };
  const puller = new Puller(parts);
  const pusher = new Pusher(parts);
  const collector = new Collector(parts);
  const archives = new Archives(parts);
  const memory = new MemoryRelease();

  /** What an image leaves on disk goes after it; a failure is repaired by the next collection. */
  const collect = async (): Promise<number> => {
    try {
      return await collector.collect();
    } catch (error) {
      log.warn({ err: error }, 'could not remove all that no image needs; the next removal tries again');
      return 0;
    }
  };

  /** Heavy work leaves much memory behind, and on a full disk blobs that wait for a next try. */
  const heavy = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (isIsleError(error, 'diskFull')) await collect();
      throw error;
    } finally {
      memory.touch();
    }
  };

  /** `change`, then what it left on the disk; the layers that went are told in Docker's way. */
  const removing = async (change: () => RemovedImage[]) => {
    const before = new Set(index.all().flatMap(({ layers }) => layers.map(({ chainId }) => chainId)));
    const removed = change();
    const reclaimed = await collect();
    for (const chainId of [...before].reverse())
      if (!snapshots.hasLayer(chainId)) removed.push({ deleted: chainId });
    return { removed, reclaimed };
  };

  return {
    get: (nameOrId) => index.view(index.find(nameOrId)),
    list: () => index.all().map((image) => index.view(image)),
    pull: (ref, pullOptions) => heavy(puller.pull(ref, pullOptions)),
    tag(nameOrId, newName) {
      const name = parseReference(newName);
      if (name.digest)
        throw isleError('invalidParameter', { message: 'refusing to create a tag with a digest reference' });
      index.put(index.find(nameOrId), [withDefaultTag(name)]);
    },
    remove: async (nameOrId, removeOptions) =>
      (await removing(() => removeFromIndex(index, nameOrId, removeOptions))).removed,
    prune: (pruneOptions) => removing(() => pruneIndex(index, pruneOptions)),
    async push(ref, pushOptions) {
      const before = content.all().length;
      await heavy(pusher.push(ref, pushOptions));
      // What was compressed is not needed in its plain form any more.
      if (content.all().length > before) await collect();
    },
    save: async (names, signal) => archives.save(names, signal),
    load: (archive, onProgress, signal) => heavy(archives.load(archive, onProgress, signal)),
    import: (archive, importOptions) => heavy(archives.import(archive, importOptions)),
    async importRoot(source, importOptions) {
      try {
        return await heavy(archives.importRoot(source, importOptions));
      } finally {
        // What was downloaded is needed no more.
        if ('server' in source) await collect();
      }
    },
    searchServer: (server, signal) => archives.searchServer(server, signal),
    commit: (commitOptions) => heavy(archives.commit(commitOptions)),
    history: (nameOrId) => historyOf(index, index.find(nameOrId)),
    login: (auth) => login(connections, auth),
    usage: async () => usageOf(index),
    chainId: (imageId) => index.record(imageId)?.layers.at(-1)?.chainId,
    async recover() {
      await content.recover();
      await repair(parts);
      await collect();
    },
  };
}
