import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { detectCompression, headSize } from '../../lib/decompress.ts';
import { isleError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { parseImageConfig } from '../config-parse.ts';
import type { Descriptor } from '../content-store.ts';
import type { Progress } from '../images.ts';
import { maxConfigBytes, maxManifestBytes, parseManifest, type ImageManifest } from '../manifest.ts';
import { mediaTypes } from '../media-types.ts';
import { choosePlatform, hostPlatform } from '../platform.ts';
import { layersOf } from '../register.ts';
import { TarError } from '../../lib/tar/entry.ts';
import { unpackLayer, type UnpackParts } from '../unpack-layer.ts';
import { digestOf, dockerItems, manifestContent, ociEntries, type DockerItem } from './documents.ts';
import { SpooledArchive, type SpooledFile } from './spool.ts';

export interface LoadedImage {
  manifest: Descriptor;
  /** As written in the archive; not checked yet. */
  names: string[];
}

/**
 * Reads a docker-archive or an OCI layout, puts its blobs into the content store and unpacks its layers; the caller records
 * what it returns. Everything is spooled first, because the documents that say what a member is may come last. Throws
 * `invalidArchive`, `invalidManifest`, `invalidImageConfig`, `invalidLayer`, `diskFull`.
 */
export async function loadArchive(
  parts: UnpackParts,
  source: Readable,
  options: { onProgress: (line: Progress) => void; signal?: AbortSignal },
): Promise<LoadedImage[]> {
  await using scratch = await parts.content.scratch();
  failpoint('load.spool.before');
  const archive = await SpooledArchive.read(source as AsyncIterable<Buffer>, scratch.path, options.signal);
  failpoint('load.spool.after');
  const found = await imagesIn(archive);
  if (found.length === 0) throw isleError('invalidArchive', { why: 'it holds no image' });
  const loaded: LoadedImage[] = [];
  for (const { image, names } of found) {
    await keepBlobs(parts, image);
    await unpackLayers(parts, image, options);
    loaded.push({ manifest: image.manifest.descriptor, names });
  }
  return loaded;
}

/** An image whose files were found and checked, but are not in the store yet. */
interface FoundImage {
  manifest: { descriptor: Descriptor; content: Buffer; parsed: ImageManifest };
  config: Buffer;
  diffIds: string[];
  layers: SpooledFile[];
}

async function imagesIn(archive: SpooledArchive): Promise<{ image: FoundImage; names: string[] }[]> {
  if (archive.has('manifest.json')) {
    const manifests = archive.has('index.json') ? await imageManifests(archive) : [];
    const items = dockerItems(await archive.json('manifest.json'));
    return Promise.all(
      items.map(async (item) => ({ image: await dockerImage(archive, item, manifests), names: item.names })),
    );
  }
  if (!archive.has('index.json')) {
    throw isleError('invalidArchive', {
      why: 'it has neither manifest.json nor index.json: it is not an image archive ("docker import" takes a root file system)',
    });
  }
  const names = new Map<string, { descriptor: Descriptor; names: string[] }>();
  for (const { descriptor, name } of await imageManifests(archive)) {
    const known = names.get(descriptor.digest) ?? { descriptor, names: [] };
    if (name !== undefined) known.names.push(name);
    names.set(descriptor.digest, known);
  }
  return Promise.all(
    [...names.values()].map(async ({ descriptor, names: found }) => ({
      image: await ociImage(archive, descriptor),
      names: found,
    })),
  );
}

/** The image manifests that index.json leads to: of an index inside it, the one for this host. */
async function imageManifests(archive: SpooledArchive): Promise<{ descriptor: Descriptor; name?: string }[]> {
  const found: { descriptor: Descriptor; name?: string }[] = [];
  for (const { descriptor, name } of ociEntries(await archive.json('index.json'))) {
    const parsed = await readManifest(archive, descriptor);
    // What the archive lists but does not hold: other platforms of what was saved for one.
    if (parsed === undefined) continue;
    if (parsed.kind === 'image') {
      found.push({ descriptor, name });
      continue;
    }
    const entries = parsed.entries.filter(({ digest }) => archive.byDigest(digest) !== undefined);
    const picked = choosePlatform(entries, hostPlatform()) ?? (entries.length === 1 ? entries[0] : undefined);
    if (picked === undefined)
      throw isleError('invalidArchive', { why: `it holds no image of the index ${descriptor.digest}` });
    const { mediaType, digest, size } = picked;
    found.push({ descriptor: { mediaType, digest, size }, name });
  }
  return found;
}

async function readManifest(archive: SpooledArchive, { digest, mediaType }: Descriptor) {
  const file = archive.byDigest(digest);
  if (file === undefined) return undefined;
  if (file.size > maxManifestBytes)
    throw isleError('invalidArchive', { why: `its manifest ${digest} is too large` });
  return parseManifest(await archive.bytes(file, digest), mediaType, digest);
}

async function ociImage(archive: SpooledArchive, descriptor: Descriptor): Promise<FoundImage> {
  const content = await archive.bytes(archive.byDigest(descriptor.digest), descriptor.digest);
  const parsed = parseManifest(content, descriptor.mediaType, descriptor.digest);
  if (parsed.kind !== 'image')
    throw isleError('invalidArchive', { why: `${descriptor.digest} is not an image` });
  const config = await readConfig(archive, archive.byDigest(parsed.config.digest), parsed.config.digest);
  const layers = parsed.layers.map(({ digest }) => existing(archive.byDigest(digest), digest));
  const manifest = { descriptor: { ...descriptor, size: content.length }, content, parsed };
  return { manifest, config, diffIds: parseImageConfig(config, parsed.config.digest).diffIds, layers };
}

/** With the manifest of index.json that has the same configuration and layers, or with one made for it. */
async function dockerImage(
  archive: SpooledArchive,
  item: DockerItem,
  manifests: { descriptor: Descriptor }[],
): Promise<FoundImage> {
  const configFile = existing(archive.find(item.config), item.config);
  const config = await readConfig(archive, configFile, item.config);
  const layers = item.layers.map((name) => existing(archive.find(name), name));
  const { diffIds } = parseImageConfig(config, configFile.digest);
  for (const { descriptor } of manifests) {
    const parsed = await readManifest(archive, descriptor);
    const same =
      parsed?.kind === 'image' &&
      parsed.config.digest === configFile.digest &&
      parsed.layers.map(({ digest }) => digest).join() === layers.map(({ digest }) => digest).join();
    if (same) return ociImage(archive, descriptor);
  }
  const parsed = await manifestFor(configFile, layers);
  const content = manifestContent(parsed);
  const descriptor = { mediaType: parsed.mediaType, digest: digestOf(content), size: content.length };
  return { manifest: { descriptor, content, parsed }, config, diffIds, layers };
}

async function manifestFor(config: SpooledFile, layers: SpooledFile[]): Promise<ImageManifest> {
  return {
    kind: 'image',
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: config.digest, size: config.size },
    layers: await Promise.all(
      layers.map(async (file) => ({
        mediaType: await layerType(file),
        digest: file.digest,
        size: file.size,
      })),
    ),
  };
}

/** The layers of a docker-archive have no media type: their first bytes tell how they are packed. */
async function layerType({ path }: SpooledFile): Promise<string> {
  await using file = await open(path, 'r');
  const head = Buffer.alloc(headSize);
  const { bytesRead } = await file.read(head, 0, headSize, 0);
  try {
    const compression = detectCompression(head.subarray(0, bytesRead));
    if (compression === 'xz' || compression === 'bzip2')
      throw new TarError(
        `it is compressed with ${compression}, which no registry takes: use gzip, zstd or none`,
      );
    return compression === 'none' ? mediaTypes.ociLayer : `${mediaTypes.ociLayer}+${compression}`;
  } catch (error) {
    throw isleError('invalidLayer', { why: messageOf(error) }, error);
  }
}

async function readConfig(
  archive: SpooledArchive,
  file: SpooledFile | undefined,
  name: string,
): Promise<Buffer> {
  if (existing(file, name).size > maxConfigBytes)
    throw isleError('invalidArchive', { why: `its ${name} is too large` });
  return archive.bytes(file, name);
}

function existing(file: SpooledFile | undefined, name: string): SpooledFile {
  if (file === undefined)
    throw isleError('invalidArchive', { why: `it names ${name}, but does not hold it` });
  return file;
}

async function keepBlobs({ content }: UnpackParts, image: FoundImage): Promise<void> {
  for (const { path, digest, size } of image.layers) {
    failpoint('load.blob.before');
    await content.adopt(path, { digest, size });
    failpoint('load.blob.after');
  }
  await content.put(image.config);
  await content.put(image.manifest.content);
}

async function unpackLayers(
  parts: UnpackParts,
  { manifest, diffIds }: FoundImage,
  { onProgress, signal }: { onProgress: (line: Progress) => void; signal?: AbortSignal },
): Promise<void> {
  const layers = layersOf(manifest.parsed, diffIds);
  const done: Promise<void>[] = [];
  let below: Promise<void> | undefined;
  for (const [at, layer] of layers.entries()) {
    if (parts.snapshots.hasLayer(layer.chainId)) continue;
    const id = layer.diffId.slice('sha256:'.length, 'sha256:'.length + 12);
    const total = layer.size;
    below = unpackLayer(
      parts,
      { ...layer, parent: layers[at - 1]?.chainId },
      {
        source: parts.content.source(layer.digest),
        signal,
        until: [below],
        onProgress: (current) =>
          onProgress({ status: 'Loading layer', id, progressDetail: { current, total } }),
      },
    );
    done.push(below);
  }
  // All of them, so that nothing runs on when one fails; the first failure is the cause of those that waited for it.
  const outcomes = await Promise.allSettled(done);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason;
}
