import type { Snapshots } from '../storage/snapshots.ts';
import type { BlobSource, ContentStore, Descriptor } from './content-store.ts';
import type { Connections } from './registry/connections.ts';
import { downloadBlob } from './registry/download.ts';
import type { RemoteRepository } from './registry/repository.ts';
import { Semaphore } from '../lib/semaphore.ts';
import { SharedWork } from './shared-work.ts';
import { unpackLayer } from './unpack-layer.ts';
import type { Unpacker } from './unpack/unpack.ts';

/** A layer to bring: its blob, and what its content must be. */
export interface LayerSpec extends Descriptor {
  diffId: string;
  chainId: string;
  parent: LayerSpec | undefined;
}

export type LayerEvent =
  | { kind: 'waiting' | 'downloaded' | 'complete' }
  | { kind: 'downloading' | 'extracting'; current: number }
  | { kind: 'retrying'; seconds: number };

/**
 * Downloads and unpacks layers: a few downloads at a time, unpacking as the unpacker has threads, each layer into
 * its own directory without waiting for the ones below it. Callers who want the same layer share the work.
 */
export class LayerWork {
  readonly #parts: LayerParts;
  readonly #downloads: Semaphore;
  readonly #shared = new SharedWork<LayerEvent>();

  constructor(parts: LayerParts) {
    this.#parts = parts;
    this.#downloads = new Semaphore(parts.connections.config.maxConcurrentDownloads);
  }

  /** Resolves when `layer` and all below it are unpacked and recorded, and its blob is stored. */
  bring(
    layer: LayerSpec,
    repository: RemoteRepository,
    options: { signal?: AbortSignal; onEvent?(event: LayerEvent): void },
  ): Promise<void> {
    const work = (signal: AbortSignal, emit: (event: LayerEvent) => void) =>
      this.#bring(layer, repository, signal, emit);
    return this.#shared.join(`${layer.chainId} ${layer.digest}`, { ...options, work });
  }

  isHere(layer: LayerSpec): boolean {
    return this.#parts.snapshots.hasLayer(layer.chainId) && this.#parts.content.has(layer.digest);
  }

  async #bring(
    layer: LayerSpec,
    repository: RemoteRepository,
    signal: AbortSignal,
    emit: (event: LayerEvent) => void,
  ) {
    if (this.isHere(layer)) return;
    const below = layer.parent && this.bring(layer.parent, repository, { signal });
    // Waited for at the end; until then its failure must not count as nobody's.
    below?.catch(() => undefined);
    const followed = await this.#downloadAndFollow(layer, repository, below, signal, emit);
    if (!followed && !this.#parts.snapshots.hasLayer(layer.chainId))
      await this.#unpack(layer, this.#parts.content.source(layer.digest), [below], signal, emit);
    emit({ kind: 'complete' });
  }

  /**
   * Downloads the blob while an unpacker reads what is there already. Resolves with true when the layer was
   * unpacked on the way; false when it is to be unpacked from the whole blob: nothing came, or following it failed
   * (the download began anew, or the layer cannot be unpacked, which the second try then says).
   */
  async #downloadAndFollow(
    layer: LayerSpec,
    repository: RemoteRepository,
    below: Promise<void> | undefined,
    signal: AbortSignal,
    emit: (event: LayerEvent) => void,
  ): Promise<boolean> {
    const verified = Promise.withResolvers<void>();
    verified.promise.catch(() => undefined);
    let following: Promise<boolean> | undefined;
    const follow = (source: BlobSource) => {
      if (this.#parts.snapshots.hasLayer(layer.chainId)) return;
      following ??= this.#unpack(layer, source, [verified.promise, below], signal, emit).then(
        () => true,
        () => false,
      );
    };
    try {
      await this.#download(layer, repository, signal, emit, follow);
      verified.resolve();
    } catch (error) {
      verified.reject(error);
      await following;
      throw error;
    }
    emit({ kind: 'downloaded' });
    if (!following) return false;
    const done = await following;
    if (!done) await below;
    return done;
  }

  #unpack(
    layer: LayerSpec,
    source: BlobSource,
    until: (Promise<void> | undefined)[],
    signal: AbortSignal,
    emit: (event: LayerEvent) => void,
  ): Promise<void> {
    const onProgress = (current: number) => emit({ kind: 'extracting', current });
    return unpackLayer(
      this.#parts,
      { ...layer, parent: layer.parent?.chainId },
      { source, signal, until, onProgress },
    );
  }

  async #download(
    layer: LayerSpec,
    repository: RemoteRepository,
    signal: AbortSignal,
    emit: (event: LayerEvent) => void,
    onStart: (source: BlobSource) => void,
  ) {
    const { content, connections } = this.#parts;
    if (content.has(layer.digest)) return;
    if (this.#downloads.isFull) emit({ kind: 'waiting' });
    using _slot = await this.#downloads.acquire(signal);
    await downloadBlob(repository, content, layer, {
      connections,
      signal,
      onStart,
      onProgress: (current) => emit({ kind: 'downloading', current }),
      onRetry: (seconds) => emit({ kind: 'retrying', seconds }),
    });
  }
}

export interface LayerParts {
  content: ContentStore;
  snapshots: Snapshots;
  unpacker: Unpacker;
  connections: Connections;
}
