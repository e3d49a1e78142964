import type { Readable } from 'node:stream';
import { decompressed } from '../../lib/decompress.ts';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { TarError } from '../../lib/tar/entry.ts';
import { chainIds } from '../chain-id.ts';
import type { ContentStore, Descriptor } from '../content-store.ts';
import type { ImageConfig } from '../images.ts';
import { maxConfigBytes, parseManifest } from '../manifest.ts';
import { mediaTypes } from '../media-types.ts';
import { hostPlatform, parseImagePlatform } from '../platform.ts';
import { unpackLayer, type UnpackParts } from '../unpack-layer.ts';
import { applyChanges } from './changes.ts';
import { writeConfig } from './config-write.ts';
import { manifestContent } from './documents.ts';

/** Makes a one-layer image of a root file system's tar (gzip, zstd or plain). Returns its manifest, for the caller to record. */
export async function importImage(
  parts: UnpackParts,
  archive: Readable,
  options: { message: string; changes: string[]; platform?: string; signal?: AbortSignal },
): Promise<Descriptor> {
  const config = applyChanges(emptyConfig(), options.changes);
  const { os, architecture, variant } = options.platform
    ? parseImagePlatform(options.platform)
    : hostPlatform();
  const layer = await storeLayer(parts.content, abortable(archive, options.signal));
  const diffId = await unpackOver(parts, layer, [], options.signal);
  const created = new Date().toISOString();
  return writeImage(parts.content, [layer], {
    created,
    architecture,
    ...(variant ? { variant } : {}),
    os,
    config: writeConfig(config),
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created, comment: options.message }],
  });
}

/** Puts what a snapshot changed on top of an image (or of nothing). Returns the new manifest, for the caller to record. */
export async function commitImage(
  parts: UnpackParts,
  options: {
    snapshotId: string;
    /** The image below. */
    parent?: { manifest: Descriptor; configDigest: string; diffIds: string[] };
    author: string;
    comment: string;
    config: ImageConfig;
  },
): Promise<Descriptor> {
  const { parent } = options;
  const below = parent ? await readParent(parts.content, parent) : undefined;
  failpoint('commit.layer.before');
  const layer = await storeLayer(parts.content, await parts.snapshots.layerTar(options.snapshotId));
  failpoint('commit.layer.after');
  const diffIds = parent?.diffIds ?? [];
  const empty = layer.size <= 1024;
  const added = empty ? [] : [await unpackOver(parts, layer, diffIds)];
  const created = new Date().toISOString();
  const { os, architecture, variant } = hostPlatform();
  const base = below?.document ?? { os, architecture, ...(variant ? { variant } : {}) };
  return writeImage(parts.content, [...(below?.layers ?? []), ...(empty ? [] : [layer])], {
    ...base,
    created,
    author: options.author || undefined,
    comment: options.comment || undefined,
    config: writeConfig(options.config),
    rootfs: { type: 'layers', diff_ids: [...diffIds, ...added] },
    history: [
      ...(Array.isArray(base.history) ? (base.history as unknown[]) : []),
      {
        created,
        created_by: (options.config.command ?? []).join(' '),
        author: options.author || undefined,
        comment: options.comment || undefined,
        empty_layer: empty || undefined,
      },
    ],
  });
}

function emptyConfig(): ImageConfig {
  return { user: '', env: [], workingDir: '', labels: {}, exposedPorts: [], volumes: [] };
}

async function readParent(
  content: ContentStore,
  { manifest, configDigest }: { manifest: Descriptor; configDigest: string },
): Promise<{ document: Record<string, unknown>; layers: Descriptor[] }> {
  const parsed = parseManifest(await content.read(manifest.digest), manifest.mediaType, manifest.digest);
  if (parsed.kind !== 'image') throw isleError('internal', { message: `${manifest.digest} is not an image` });
  const bytes = await content.read(configDigest, maxConfigBytes);
  return { document: JSON.parse(bytes.toString('utf8')) as Record<string, unknown>, layers: parsed.layers };
}

/** A layer is kept as a plain tar, so that its digest is its diff id; a push compresses it. */
async function storeLayer(content: ContentStore, source: AsyncIterable<Buffer>): Promise<Descriptor> {
  try {
    return { ...(await content.putStream(decompressed(source))), mediaType: mediaTypes.ociLayer };
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    throw isleError('invalidArchive', { why: error.message }, error);
  }
}

/** Unpacks a new layer over those with `diffIds`. Returns its diff id. */
export async function unpackOver(
  parts: UnpackParts,
  layer: Descriptor,
  diffIds: string[],
  signal?: AbortSignal,
): Promise<string> {
  const chain = chainIds([...diffIds, layer.digest]);
  const chainId = chain.at(-1)!;
  if (!parts.snapshots.hasLayer(chainId)) {
    await unpackLayer(
      parts,
      { ...layer, diffId: layer.digest, chainId, parent: chain.at(-2) },
      { source: parts.content.source(layer.digest), signal },
    );
  }
  return layer.digest;
}

/** Stores a configuration and the manifest over it. Returns the manifest. */
export async function writeImage(
  content: ContentStore,
  layers: Descriptor[],
  document: Record<string, unknown>,
): Promise<Descriptor> {
  const config = Buffer.from(JSON.stringify(document));
  const digest = await content.put(config);
  const manifest = manifestContent({
    kind: 'image',
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest, size: config.length },
    layers,
  });
  return { mediaType: mediaTypes.ociManifest, digest: await content.put(manifest), size: manifest.length };
}

async function* abortable(source: Readable, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  for await (const piece of source as AsyncIterable<Buffer>) {
    signal?.throwIfAborted();
    yield piece;
  }
}
