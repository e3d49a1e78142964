import { isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { shortId } from '../lib/ids.ts';
import { compressLayers } from './compress.ts';
import type { ContentStore, Descriptor } from './content-store.ts';
import type { ImageIndex, ImageRecord, LayerRecord } from './image-index.ts';
import type { Progress, PushOptions } from './images.ts';
import { maxManifestBytes } from './manifest.ts';
import type { Pins } from './pins.ts';
import { formatPlatform, parsePlatform, satisfiesPlatform } from './platform.ts';
import {
  canonicalRepository,
  familiarName,
  parseReference,
  withDefaultTag,
  type Reference,
} from './reference.ts';
import type { Connections } from './registry/connections.ts';
import { RemoteTarget } from './registry/upload.ts';
import { pushError } from './registry/user-errors.ts';
import { Semaphore } from '../lib/semaphore.ts';
import { SharedWork } from './shared-work.ts';

const maxUploads = 5;
const progressInterval = 100;

export interface PushParts {
  index: ImageIndex;
  content: ContentStore;
  connections: Connections;
  pins: Pins;
}

type UploadEvent =
  | { kind: 'pushing'; current: number }
  | { kind: 'retrying'; seconds: number }
  | { kind: 'exists' | 'pushed' }
  | { kind: 'mounted'; from: string };

/** Takes images to registries, as they came: the manifest's bytes and the compressed layers are kept. */
export class Pusher {
  readonly #parts: PushParts;
  readonly #uploads = new Semaphore(maxUploads);
  readonly #shared = new SharedWork<UploadEvent>();

  constructor(parts: PushParts) {
    this.#parts = parts;
  }

  /** See `Images.push`. */
  async push(text: string, options: PushOptions): Promise<void> {
    const named = parseReference(text);
    if (named.digest) throw isleError('invalidParameter', { message: 'cannot push a digest reference' });
    if (options.allTags && named.tag)
      throw isleError('invalidParameter', { message: "tag can't be used with --all-tags/-a" });
    const refs = options.allTags ? this.#parts.index.tagsIn(named) : [withDefaultTag(named)];
    const repository = canonicalRepository(named);
    if (refs.length === 0 || !refs.every((ref) => this.#parts.index.imageOf(ref)))
      throw isleError('noSuchImage', {
        ref: options.allTags ? repository : `an image does not exist locally with the tag: ${repository}`,
      });
    options.onProgress({ status: `The push refers to repository [${repository}]` });
    const target = new RemoteTarget(this.#parts.connections, named, options.auth);
    try {
      for (const ref of refs) await this.#pushOne(target, ref, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw pushError(named, error);
    }
  }

  async #pushOne(target: RemoteTarget, ref: Reference, options: PushOptions): Promise<void> {
    const { index, content, pins } = this.#parts;
    const { signal, onProgress } = options;
    const recorded = index.imageOf(ref);
    if (!recorded) throw isleError('noSuchImage', { ref: familiarName(ref) });
    refuseOtherPlatform(recorded, ref, options.platform);
    const image = await this.#packed(recorded, signal);
    using _pin = await pins.pin(
      [image.manifest, image.configDescriptor, ...image.layers].map(({ digest }) => digest),
    );

    const failed = new AbortController();
    const either = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
    const layers = image.layers.toReversed();
    for (const layer of layers)
      onProgress({ status: 'Preparing', id: shortId(layer.diffId), progressDetail: {} });
    const running = layers.map((layer) =>
      this.#bring(target, image, layer, either, uploadLines(layer, onProgress)).catch((error: unknown) => {
        failed.abort(error);
        throw error;
      }),
    );
    await Promise.allSettled(running);
    signal?.throwIfAborted();
    failed.signal.throwIfAborted();

    await this.#bring(target, image, image.configDescriptor, either, undefined);
    const bytes = await content.read(image.manifest.digest, maxManifestBytes);
    const tag = ref.tag ?? 'latest';
    await target.putManifest(tag, image.manifest, bytes, signal);
    failpoint('images.push-record.before');
    index.put(image, [{ domain: ref.domain, path: ref.path, digest: image.manifest.digest }]);
    const { digest, size } = image.manifest;
    onProgress({ status: `${tag}: digest: ${digest} size: ${size}` });
    onProgress({ progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: size } });
  }

  /** As it goes to a registry: what came from one stays as it is, what was made here is compressed. */
  async #packed(image: ImageRecord, signal: AbortSignal | undefined): Promise<ImageRecord> {
    const { index, content, pins } = this.#parts;
    if (index.namesOf(image.id).some((name) => name.digest)) return image;
    using _pin = await pins.pinAll();
    const packed = await compressLayers(content, image, signal);
    if (packed !== image) index.put(packed, []);
    return packed;
  }

  #bring(
    target: RemoteTarget,
    image: ImageRecord,
    blob: Descriptor,
    signal: AbortSignal,
    onEvent: ((event: UploadEvent) => void) | undefined,
  ): Promise<void> {
    const key = `${canonicalRepository(target.ref)} ${blob.digest}`;
    const work = async (shared: AbortSignal, emit: (event: UploadEvent) => void) => {
      using _slot = await this.#uploads.acquire(shared);
      if (await target.has(blob, shared)) return emit({ kind: 'exists' });
      const { mountedFrom } = await target.put(blob, {
        path: this.#parts.content.path(blob.digest),
        mountFrom: this.#mountCandidates(target.ref, image, blob.digest),
        signal: shared,
        onProgress: (current) => emit({ kind: 'pushing', current }),
        onRetry: (seconds) => emit({ kind: 'retrying', seconds }),
      });
      emit(mountedFrom === undefined ? { kind: 'pushed' } : { kind: 'mounted', from: mountedFrom });
    };
    return this.#shared.join(key, { work, signal, onEvent });
  }

  /** Repositories of the same registry that hold an image with this blob, as far as is known here. */
  #mountCandidates(ref: Reference, image: ImageRecord, digest: string): string[] {
    const { index } = this.#parts;
    const holders = index
      .all()
      .filter((other) => other.id === image.id || other.layers.some((layer) => layer.digest === digest));
    const paths = holders.flatMap((holder) =>
      index
        .namesOf(holder.id)
        .filter((name) => name.digest && name.domain === ref.domain && name.path !== ref.path),
    );
    return [...new Set(paths.map(({ path }) => path))];
  }
}

function uploadLines(layer: LayerRecord, onProgress: (line: Progress) => void): (event: UploadEvent) => void {
  const id = shortId(layer.diffId);
  let last = Number.NEGATIVE_INFINITY;
  return (event) => {
    switch (event.kind) {
      case 'pushing': {
        const now = performance.now();
        if (now - last < progressInterval && event.current < layer.size) return;
        last = now;
        return onProgress({
          status: 'Pushing',
          id,
          progressDetail: { current: event.current, total: layer.size },
        });
      }
      case 'retrying':
        return onProgress({
          status: `Retrying in ${event.seconds} second${event.seconds === 1 ? '' : 's'}`,
          id,
          progressDetail: {},
        });
      case 'exists':
        return onProgress({ status: 'Layer already exists', id, progressDetail: {} });
      case 'mounted':
        return onProgress({ status: `Mounted from ${event.from}`, id, progressDetail: {} });
      case 'pushed':
        return onProgress({ status: 'Pushed', id, progressDetail: {} });
    }
  };
}

function refuseOtherPlatform(image: ImageRecord, ref: Reference, wanted: string | undefined): void {
  if (wanted === undefined) return;
  const actual = { os: image.os, architecture: image.architecture, variant: image.variant };
  if (!satisfiesPlatform(actual, parsePlatform(wanted)))
    throw isleError('platformMismatch', { ref: familiarName(ref), wanted, actual: formatPlatform(actual) });
}
