import { isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { shortId } from '../lib/ids.ts';
import { parseImageConfig, type ParsedConfig } from './config-parse.ts';
import type { ImageIndex, ImageRecord } from './image-index.ts';
import type { Image, PullOptions } from './images.ts';
import { LayerWork, type LayerParts, type LayerSpec } from './layer-work.ts';
import type { Pins } from './pins.ts';
import { formatPlatform, hostPlatform, parsePlatform, satisfiesPlatform } from './platform.ts';
import { layerLines } from './progress.ts';
import { familiarName, parseReference, withDefaultTag, type Reference } from './reference.ts';
import { imageRecord, layersOf } from './register.ts';
import { UnexpectedAnswer } from './registry/answers.ts';
import { fetchBlob } from './registry/download.ts';
import { RemoteRepository } from './registry/repository.ts';
import { pullError } from './registry/user-errors.ts';
import { resolveImage, type ResolvedImage } from './resolve.ts';

export interface PullParts extends LayerParts {
  index: ImageIndex;
  pins: Pins;
}

/** Brings images from registries. */
export class Puller {
  readonly #parts: PullParts;
  readonly #layers: LayerWork;

  constructor(parts: PullParts) {
    this.#parts = parts;
    this.#layers = new LayerWork(parts);
  }

  /** See `Images.pull`. With `allTags` every tag of the repository; the last image is returned. */
  async pull(text: string, options: PullOptions): Promise<Image> {
    const named = parseReference(text);
    try {
      if (!options.allTags) return await this.#pullOne(withDefaultTag(named), options);
      return await this.#pullAll(named, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw pullError(withDefaultTag(named), error);
    }
  }

  async #pullAll(named: Reference, options: PullOptions): Promise<Image> {
    if (named.tag || named.digest)
      throw isleError('invalidParameter', { message: "tag can't be used with --all-tags/-a" });
    const tags = await new RemoteRepository(this.#parts.connections, named, options.auth).tags(
      options.signal,
    );
    let last: Image | undefined;
    for (const tag of tags) last = await this.#pullOne({ ...named, tag }, options);
    if (!last)
      throw isleError('manifestUnknown', { ref: familiarName(named), reason: 'the repository has no tags' });
    return last;
  }

  async #pullOne(ref: Reference, options: PullOptions): Promise<Image> {
    const { signal, onProgress } = options;
    const { index, pins, connections, content } = this.#parts;
    const repository = new RemoteRepository(connections, ref, options.auth);
    const known = await this.#upToDate(repository, ref, options);
    if (known) return known;
    const image = await resolveImage(repository, ref, { platform: options.platform, signal });
    onProgress({ status: `Pulling from ${ref.path}`, id: ref.digest ?? ref.tag });

    const { manifest } = image;
    const blobs = [
      image.descriptor.digest,
      manifest.config.digest,
      ...manifest.layers.map(({ digest }) => digest),
    ];
    using _blobs = await pins.pin(blobs);
    const { config, bytes } = await this.#configuration(repository, image, ref, signal);
    const specs = layerSpecs(image, config);
    using _layers = await pins.pin(specs.map(({ chainId }) => chainId));
    // Written while the layers come: each write waits for the disk.
    const written = Promise.all([content.put(bytes), content.put(image.content)]);
    await this.#bringLayers(repository, specs, options, written);
    return await this.#record(ref, image, onProgress, index);
  }

  /**
   * The image of a tag that has not moved since it was pulled. Asked for by HEAD, which rate-limited registries do
   * not count; what they do not answer to one is pulled in the usual way.
   */
  async #upToDate(
    repository: RemoteRepository,
    ref: Reference,
    { platform, signal, onProgress }: PullOptions,
  ): Promise<Image | undefined> {
    const { index } = this.#parts;
    const image = index.imageOf(ref);
    if (!ref.tag || ref.digest || !image || !this.#isWhole(image)) return undefined;
    const digest = await repository.manifestDigest(ref.tag, signal).catch((error: unknown) => {
      if (error instanceof UnexpectedAnswer && error.status < 500 && error.status !== 429) return undefined;
      throw error;
    });
    if (digest === undefined || index.imageOf({ ...ref, tag: undefined, digest })?.id !== image.id)
      return undefined;
    const wanted = platform ? parsePlatform(platform) : hostPlatform();
    if (image.architecture !== wanted.architecture || !satisfiesPlatform(image, wanted)) return undefined;
    onProgress({ status: `Pulling from ${ref.path}`, id: ref.tag });
    tellEnd(ref, digest, true, onProgress);
    return index.view(image);
  }

  /** A damaged blob was set aside: the pull then brings it again. */
  #isWhole({ manifest, configDescriptor, layers }: ImageRecord): boolean {
    const { content, snapshots } = this.#parts;
    const blobs = [manifest, configDescriptor, ...layers];
    return (
      blobs.every(({ digest }) => content.has(digest)) &&
      layers.every(({ chainId }) => snapshots.hasLayer(chainId))
    );
  }

  async #configuration(
    repository: RemoteRepository,
    image: ResolvedImage,
    ref: Reference,
    signal: AbortSignal | undefined,
  ): Promise<{ config: ParsedConfig; bytes: Buffer }> {
    const { content, connections } = this.#parts;
    const descriptor = image.manifest.config;
    const bytes = await fetchBlob(repository, content, descriptor, { connections, signal });
    const config = parseImageConfig(bytes, descriptor.digest);
    const actual = { os: config.os, architecture: config.architecture, variant: config.variant };
    if (config.os !== 'linux' || (image.wanted && !satisfiesPlatform(actual, image.wanted)))
      throw isleError('platformMismatch', {
        ref: familiarName(ref),
        wanted: formatPlatform(image.wanted ?? { os: 'linux', architecture: config.architecture }),
        actual: formatPlatform(actual),
      });
    return { config, bytes };
  }

  /** All layers at once, `beside` other work; the first that fails ends the others (what they verified stays). */
  async #bringLayers(
    repository: RemoteRepository,
    specs: LayerSpec[],
    options: PullOptions,
    beside: Promise<unknown>,
  ): Promise<void> {
    const { onProgress, signal } = options;
    const failed = new AbortController();
    const either = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
    const missing = specs.filter((layer) => {
      const here = this.#layers.isHere(layer);
      onProgress({
        status: here ? 'Already exists' : 'Pulling fs layer',
        id: shortId(layer.digest),
        progressDetail: {},
      });
      return !here;
    });
    const running = missing.map((layer) => {
      const onEvent = layerLines(layer, onProgress);
      return this.#layers.bring(layer, repository, { signal: either, onEvent });
    });
    await Promise.all([...running, beside].map((one) => one.catch((error: unknown) => failed.abort(error))));
    signal?.throwIfAborted();
    failed.signal.throwIfAborted();
  }

  async #record(
    ref: Reference,
    image: ResolvedImage,
    onProgress: PullOptions['onProgress'],
    index: ImageIndex,
  ): Promise<Image> {
    const record = await imageRecord(this.#parts, image.descriptor);
    const known = index.imageOf(ref)?.id === record.id;
    const byDigest: Reference = { domain: ref.domain, path: ref.path, digest: image.digest };
    failpoint('images.record.before');
    index.put(record, ref.tag && !ref.digest ? [ref, byDigest] : [byDigest]);
    failpoint('images.record.after');
    tellEnd(ref, image.digest, known, onProgress);
    const recorded = index.record(record.id) ?? record;
    return index.view(recorded);
  }
}

function tellEnd(
  ref: Reference,
  digest: string,
  known: boolean,
  onProgress: PullOptions['onProgress'],
): void {
  onProgress({ status: `Digest: ${digest}` });
  const what = known ? 'Image is up to date' : 'Downloaded newer image';
  onProgress({ status: `Status: ${what} for ${familiarName(ref)}` });
}

function layerSpecs(image: ResolvedImage, config: ParsedConfig): LayerSpec[] {
  const specs: LayerSpec[] = [];
  for (const layer of layersOf(image.manifest, config.diffIds))
    specs.push({ ...layer, parent: specs.at(-1) });
  return specs;
}
