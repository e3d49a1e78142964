import { isleError } from '../lib/errors.ts';
import type { Store, Table } from '../lib/table.ts';
import type { ParsedConfig } from './config-parse.ts';
import type { Descriptor } from './content-store.ts';
import type { Image } from './images.ts';
import {
  canonicalName,
  canonicalRepository,
  familiarName,
  familiarRepository,
  parseReference,
  withDefaultTag,
  type Reference,
} from './reference.ts';

/** An image as recorded: its blobs are in the content store and its layers among the snapshots. */
export interface ImageRecord extends ParsedConfig {
  /** Digest of the configuration. */
  id: string;
  manifest: Descriptor;
  configDescriptor: Descriptor;
  layers: LayerRecord[];
  parentId: string;
  lastTagTime?: string;
}

export interface LayerRecord extends Descriptor {
  diffId: string;
  chainId: string;
  /** Unpacked bytes. */
  unpackedSize: number;
}

interface NameRecord extends Reference {
  /** `docker.io/library/busybox:latest`, or `…@sha256:…`: has either a tag or a digest. */
  key: string;
  imageId: string;
}

/** Which images there are and what they are called. All changes are one transaction each. */
export class ImageIndex {
  readonly #store: Store;
  readonly #images: Table<ImageRecord>;
  readonly #names: Table<NameRecord>;
  /** Keys of the names of each image. */
  readonly #namesOf = new Map<string, Set<string>>();
  #revision = 0;

  constructor(store: Store) {
    this.#store = store;
    this.#images = store.table<ImageRecord>('images');
    this.#names = store.table<NameRecord>('image-names');
    for (const name of this.#names.all()) this.#remember(name);
  }

  /** Grows with every change. */
  get revision(): number {
    return this.#revision;
  }

  all(): ImageRecord[] {
    return this.#images.all();
  }

  record(id: string): ImageRecord | undefined {
    return this.#images.get(id);
  }

  /**
   * By id, name (default tag `latest`), `name@digest` or unambiguous id prefix. Throws `noSuchImage`,
   * `ambiguousId`, `invalidReference`.
   */
  find(nameOrId: string): ImageRecord {
    const bare = nameOrId.replace(/^sha256:/, '');
    const exact = /^[0-9a-f]{64}$/.test(bare) ? this.#images.get(`sha256:${bare}`) : undefined;
    if (exact) return exact;
    const named = this.findName(nameOrId);
    if (named) return named.image;
    const byPrefix = this.#byPrefix(bare);
    if (byPrefix) return byPrefix;
    throw isleError('noSuchImage', { ref: describe(nameOrId) });
  }

  /** The image a name stands for, and the name; undefined when nothing has that name, or it is no name. */
  findName(text: string): { image: ImageRecord; name: Reference } | undefined {
    if (/^(sha256:)?[0-9a-f]{64}$/.test(text)) return undefined;
    const ref = withDefaultTag(parseReference(text));
    const name =
      this.#names.get(canonicalName(ref)) ??
      (ref.tag && ref.digest ? this.#names.get(digestKey(ref)) : undefined);
    const image = name && this.#images.get(name.imageId);
    return image && { image, name: pick(name) };
  }

  /** True when `text` is (a prefix of) this image's id, rather than one of its names. */
  isIdOf(id: string, text: string): boolean {
    return (
      text !== '' &&
      id.slice('sha256:'.length).startsWith(text.replace(/^sha256:/, '')) &&
      !this.findName(text)
    );
  }

  /** Records `image` and gives it `names`; a name another image had moves. Throws `invalidParameter` for the name `sha256`. */
  put(image: ImageRecord, names: Reference[], now = new Date()): void {
    // `sha256:ab…` must stay an id (Docker refuses the same).
    if (names.some((name) => name.tag && familiarRepository(name) === 'sha256'))
      throw isleError('invalidParameter', {
        message: 'refusing to create an ambiguous tag using digest algorithm as name',
      });
    this.#change(() => {
      const known = this.#images.get(image.id);
      const lastTagTime = names.length > 0 ? now.toISOString() : known?.lastTagTime;
      this.#images.put(image.id, {
        ...image,
        parentId: image.parentId || (known?.parentId ?? ''),
        lastTagTime,
      });
      for (const name of names) this.#putName(name, image.id);
    });
  }

  untag(name: Reference): void {
    this.#change(() => this.#names.delete(nameKey(name)));
  }

  /** Forgets an image and every name of it. */
  delete(id: string): void {
    this.#change(() => {
      for (const key of this.#namesOf.get(id) ?? []) this.#names.delete(key);
      this.#images.delete(id);
    });
  }

  /** Names with a tag first, then those by digest. */
  namesOf(id: string): Reference[] {
    const names = [...(this.#namesOf.get(id) ?? [])]
      .map((key) => this.#names.get(key))
      .filter((name) => name !== undefined);
    return [...names.filter((name) => name.tag), ...names.filter((name) => !name.tag)].map(pick);
  }

  /** Names in the repository of `ref` that have a tag. */
  tagsIn(ref: Reference): Reference[] {
    const repository = canonicalRepository(ref);
    return this.#names
      .all()
      .filter((name) => name.tag && canonicalRepository(name) === repository)
      .map(pick);
  }

  imageOf(name: Reference): ImageRecord | undefined {
    const found = this.#names.get(nameKey(name));
    return found && this.#images.get(found.imageId);
  }

  /** The image as the engine sees it. */
  view(image: ImageRecord): Image {
    const { configDescriptor: _config, history: _history, layers, ...rest } = image;
    const names = this.namesOf(image.id);
    return {
      ...rest,
      tags: names.filter((name) => name.tag).map(familiarName),
      repoDigests: names.filter((name) => name.digest).map(familiarName),
      size: layers.reduce((sum, layer) => sum + layer.unpackedSize, 0),
      chainIds: layers.map((layer) => layer.chainId),
    };
  }

  #byPrefix(prefix: string): ImageRecord | undefined {
    if (!/^[0-9a-f]{1,64}$/.test(prefix)) return undefined;
    const found = this.#images.all().filter((image) => image.id.startsWith(`sha256:${prefix}`));
    if (found.length > 1) throw isleError('ambiguousId', { kind: 'image', id: prefix });
    return found[0];
  }

  #putName(ref: Reference, imageId: string): void {
    const key = nameKey(ref);
    this.#names.put(key, { ...pick(ref), key, imageId });
  }

  #remember(name: NameRecord): void {
    const keys = this.#namesOf.get(name.imageId) ?? new Set();
    this.#namesOf.set(name.imageId, keys.add(name.key));
  }

  /** The map of names is derived again after each change: changes are rare, reads are hot. */
  #change(change: () => void): void {
    try {
      this.#store.transaction(change);
    } finally {
      this.#revision++;
      this.#namesOf.clear();
      for (const name of this.#names.all()) this.#remember(name);
    }
  }
}

/** A name with both a tag and a digest is recorded by its digest, as Docker does. */
function nameKey(ref: Reference): string {
  return ref.digest ? digestKey(ref) : canonicalName(ref);
}

function digestKey(ref: Reference): string {
  return `${canonicalRepository(ref)}@${ref.digest}`;
}

function pick(ref: Reference): Reference {
  const { domain, path, tag, digest } = ref;
  return { domain, path, ...(digest ? { digest } : { tag }) };
}

/** As Docker names what it did not find: a name with its default tag. */
function describe(nameOrId: string): string {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(nameOrId)) return nameOrId;
  return familiarName(withDefaultTag(parseReference(nameOrId)));
}
