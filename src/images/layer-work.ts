import { isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Snapshots } from '../storage/snapshots.ts';
import type { ContentStore, Descriptor } from './content-store.ts';
import type { Connections } from './registry/connections.ts';
import { downloadBlob } from './registry/download.ts';
import type { RemoteRepository } from './registry/repository.ts';
import { Semaphore } from './semaphore.ts';
import { SharedWork } from './shared-work.ts';
import type { Unpacker } from './unpacker.ts';

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
    await this.#download(layer, repository, signal, emit);
    emit({ kind: 'downloaded' });
    if (!this.#parts.snapshots.hasLayer(layer.chainId)) await this.#unpack(layer, below, signal, emit);
    emit({ kind: 'complete' });
  }

  async #download(
    layer: LayerSpec,
    repository: RemoteRepository,
    signal: AbortSignal,
    emit: (event: LayerEvent) => void,
  ) {
    const { content, connections } = this.#parts;
    if (content.has(layer.digest)) return;
    emit({ kind: 'waiting' });
    using _slot = await this.#downloads.acquire(signal);
    await downloadBlob(repository, content, layer, {
      connections,
      signal,
      onProgress: (current) => emit({ kind: 'downloading', current }),
      onRetry: (seconds) => emit({ kind: 'retrying', seconds }),
    });
  }

  async #unpack(
    layer: LayerSpec,
    below: Promise<void> | undefined,
    signal: AbortSignal,
    emit: (event: LayerEvent) => void,
  ) {
    const { snapshots, unpacker, content } = this.#parts;
    failpoint('images.unpack.before');
    const directory = await snapshots.beginLayer(layer.chainId);
    try {
      const unpacked = await unpacker.unpack({
        blob: content.path(layer.digest),
        mediaType: layer.mediaType,
        target: directory.path,
        signal,
        onProgress: (current) => emit({ kind: 'extracting', current }),
      });
      if (unpacked.diffId !== layer.diffId)
        throw isleError('digestMismatch', {
          what: `layer ${layer.digest}`,
          expected: layer.diffId,
          actual: unpacked.diffId,
        });
      failpoint('images.unpack.after');
      await below;
      signal.throwIfAborted();
      const parent = layer.parent?.chainId;
      await snapshots.commitLayer(layer.chainId, { parent, diffId: layer.diffId, size: unpacked.size });
    } catch (error) {
      await directory.abandon();
      throw error;
    }
  }
}

export interface LayerParts {
  content: ContentStore;
  snapshots: Snapshots;
  unpacker: Unpacker;
  connections: Connections;
}
