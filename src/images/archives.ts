import type { Readable } from 'node:stream';
import { isleError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { loadArchive } from './archive/load.ts';
import { commitImage, importImage } from './archive/make.ts';
import { saveImages } from './archive/save.ts';
import type { ArchivedImage } from './archive/layout.ts';
import type { Descriptor } from './content-store.ts';
import type { ImageIndex, ImageRecord } from './image-index.ts';
import { importRoot } from './distribution/import.ts';
import type { Image, Images, Progress, RootImportOptions, RootSource, ServerImage } from './images.ts';
import type { Pins } from './pins.ts';
import { familiarName, parseReference, withDefaultTag, type Reference } from './reference.ts';
import { parseImagePlatform } from './platform.ts';
import { imageRecord } from './register.ts';
import type { Connections } from './registry/connections.ts';
import { bringFromServer } from './simplestreams/bring.ts';
import { newestOffer, type Product } from './simplestreams/catalogue.ts';
import { StreamsServer } from './simplestreams/server.ts';
import type { UnpackParts } from './unpack-layer.ts';

export interface ArchivesParts extends UnpackParts {
  index: ImageIndex;
  pins: Pins;
  log: Logger;
  connections: Connections;
}

/** Images that come and go other than through a registry: save, load, import and commit. */
export class Archives {
  readonly #parts: ArchivesParts;

  constructor(parts: ArchivesParts) {
    this.#parts = parts;
  }

  /** An image asked for by id is saved with all its names, one asked for by name with that (without a tag: with all of the repository). */
  async save(names: string[], signal?: AbortSignal): Promise<Readable> {
    const { index, pins, content } = this.#parts;
    if (names.length === 0)
      throw isleError('invalidParameter', { message: 'no image was named to be saved' });
    const wanted = new Map<string, { image: ImageRecord; names: Reference[] }>();
    for (const text of names) {
      const image = index.find(text);
      const known = wanted.get(image.id) ?? { image, names: [] };
      known.names.push(...this.#namesFor(image, text));
      wanted.set(image.id, known);
    }
    const images = [...wanted.values()].map(archived);
    // Only what is read: a slow reader must not keep other images' garbage on the disk.
    const blobs = images.flatMap(({ manifest, config, layers }) => [manifest, config, ...layers]);
    const pin = await pins.pin(blobs.map(({ digest }) => digest));
    try {
      const stream = saveImages(content, images, signal);
      stream.once('close', () => pin[Symbol.dispose]());
      return stream;
    } catch (error) {
      pin[Symbol.dispose]();
      throw error;
    }
  }

  async load(
    archive: Readable,
    onProgress: (line: Progress) => void,
    signal?: AbortSignal,
  ): Promise<{ id: string; names: string[] }[]> {
    using _pin = await this.#parts.pins.pinAll();
    const loaded = await loadArchive(this.#parts, archive, { onProgress, signal });
    // All names are checked before the first image is recorded.
    const images = loaded.map(({ manifest, names }) => ({ manifest, names: names.map(tagged) }));
    const results: { id: string; names: string[] }[] = [];
    for (const { manifest, names } of images) {
      const { id } = await this.#record(manifest, names);
      results.push({ id, names: names.map(familiarName) });
    }
    return results;
  }

  async import(archive: Readable, options: Parameters<Images['import']>[1]): Promise<Image> {
    const names = options.ref ? [tagged(options.ref)] : [];
    using _pin = await this.#parts.pins.pinAll();
    return await this.#record(await importImage(this.#parts, archive, options), names);
  }

  async importRoot(source: RootSource, options: RootImportOptions): Promise<Image> {
    const { onProgress, signal } = options;
    const asked = options.ref ? [tagged(options.ref)] : undefined;
    using _pin = await this.#parts.pins.pinAll();
    const { archive, ref } =
      'server' in source
        ? await bringFromServer(this.#parts, source, options)
        : { archive: uploaded(source, options), ref: undefined };
    const { manifest, notes } = await importRoot(this.#parts, archive, signal);
    const image = await this.#record(manifest, asked ?? (ref ? [tagged(ref)] : []));
    for (const note of notes) onProgress({ status: `Note: ${note}` });
    return image;
  }

  async searchServer(server: string, signal?: AbortSignal): Promise<ServerImage[]> {
    const from = new StreamsServer(this.#parts.connections, server);
    const products = await from.products(signal);
    return products.flatMap((product) => serverImage(product, from.host) ?? []);
  }

  async commit(options: Parameters<Images['commit']>[0]): Promise<Image> {
    const names = options.ref ? [tagged(options.ref)] : [];
    using _pin = await this.#parts.pins.pinAll();
    const below = options.parentImageId ? this.#parts.index.record(options.parentImageId) : undefined;
    if (options.parentImageId && !below) throw isleError('noSuchImage', { ref: options.parentImageId });
    const parent = below && { manifest: below.manifest, configDigest: below.id, diffIds: below.diffIds };
    const manifest = await commitImage(this.#parts, { ...options, parent });
    return await this.#record(manifest, names, below?.id);
  }

  async #record(manifest: Descriptor, names: Reference[], parentId?: string): Promise<Image> {
    const record = await imageRecord(this.#parts, manifest, { parentId });
    this.#parts.index.put(record, names);
    return this.#parts.index.view(record);
  }

  #namesFor(image: ImageRecord, text: string): Reference[] {
    const { index } = this.#parts;
    if (index.isIdOf(image.id, text)) return index.namesOf(image.id).filter(({ tag }) => tag);
    const name = index.findName(text)?.name;
    if (!name?.tag) return [];
    return parseReference(text).tag
      ? [name]
      : index.tagsIn(name).filter((other) => index.imageOf(other)?.id === image.id);
  }
}

function uploaded(source: Extract<RootSource, { archive: unknown }>, { platform }: RootImportOptions) {
  const { archive: content, metadata } = source;
  return {
    content,
    metadata,
    comment: 'imported',
    platform: platform ? parseImagePlatform(platform) : undefined,
  };
}

/** Undefined for what is only for virtual machines. */
function serverImage(product: Product, host: string): ServerImage | undefined {
  const { aliases, os, release, variant, platform } = product;
  try {
    const { version, root, metadata } = newestOffer(product, host);
    const architecture = [platform.architecture, platform.variant].filter(Boolean).join('/');
    return { aliases, os, release, variant, architecture, version, size: root.size + (metadata?.size ?? 0) };
  } catch {
    return undefined;
  }
}

function archived({ image, names }: { image: ImageRecord; names: Reference[] }): ArchivedImage {
  const { manifest, configDescriptor: config, layers } = image;
  const unique = new Map(names.map((name) => [familiarName(name), name]));
  return { manifest, config, layers, names: [...unique.values()] };
}

function tagged(text: string): Reference {
  const name = withDefaultTag(parseReference(text));
  if (name.tag) return name;
  throw isleError('invalidReference', { ref: text, why: 'a name with a digest cannot be given to an image' });
}
