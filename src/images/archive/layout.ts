import { padding, tarHeader } from '../../lib/tar/writer.ts';
import { bytesOf, emptyEntry, type TarEntry } from '../../lib/tar/entry.ts';
import type { Descriptor } from '../content-store.ts';
import { mediaTypes } from '../media-types.ts';
import { canonicalName, familiarName, familiarRepository, type Reference } from '../reference.ts';

/** An image as an archive holds it. */
export interface ArchivedImage {
  manifest: Descriptor;
  config: Descriptor;
  layers: (Descriptor & { diffId: string })[];
  /** Names with a tag. */
  names: Reference[];
}

/** The path of a blob in an OCI layout. */
export function blobPath(digest: string): string {
  return `blobs/sha256/${digest.slice('sha256:'.length)}`;
}

/**
 * The documents that make a directory of blobs both a docker-archive and an OCI layout, as Docker ≥ 25 writes them.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export function archiveDocuments(images: ArchivedImage[]): Map<string, Buffer> {
  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
  return new Map([
    ['index.json', json(ociIndex(images))],
    ['manifest.json', json(images.map(dockerManifest))],
    ['oci-layout', json({ imageLayoutVersion: '1.0.0' })],
    ['repositories', json(repositories(images))],
  ]);
}

function ociIndex(images: ArchivedImage[]): unknown {
  const entries = images.flatMap(({ manifest, names }) => {
    const { mediaType, digest, size } = manifest;
    if (names.length === 0) return [{ mediaType, digest, size }];
    return names.map((name) => ({
      mediaType,
      digest,
      size,
      annotations: {
        'io.containerd.image.name': canonicalName(name),
        'org.opencontainers.image.ref.name': name.tag ?? '',
      },
    }));
  });
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: entries };
}

function dockerManifest({ config, layers, names }: ArchivedImage): unknown {
  return {
    Config: blobPath(config.digest),
    RepoTags: names.length === 0 ? null : names.map(familiarName),
    Layers: layers.map(({ digest }) => blobPath(digest)),
    LayerSources: Object.fromEntries(
      layers.map(({ diffId, mediaType, size, digest }) => [diffId, { mediaType, size, digest }]),
    ),
  };
}

/** What clients before Docker 1.10 read. */
function repositories(images: ArchivedImage[]): Record<string, Record<string, string>> {
  const found: Record<string, Record<string, string>> = {};
  for (const { names, layers } of images) {
    const top = layers.at(-1)?.digest.slice('sha256:'.length);
    for (const name of names) {
      if (top !== undefined && name.tag !== undefined)
        (found[familiarRepository(name)] ??= {})[name.tag] = top;
    }
  }
  return found;
}

/** A member of an archive with reproducible metadata. `content`: exactly `size` bytes. */
export async function* archiveMember(
  name: string,
  size: number,
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
  fields: Partial<TarEntry> = {},
): AsyncGenerator<Buffer> {
  yield tarHeader({ ...emptyEntry, name: bytesOf(name), size, ...fields });
  yield* content;
  const rest = padding(size);
  if (rest.length > 0) yield rest;
}
