import { chmod, open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { unpackOver, writeImage } from '../archive/make.ts';
import { writeConfig } from '../archive/config-write.ts';
import type { ContentStore, Descriptor } from '../content-store.ts';
import type { ImageConfig } from '../images.ts';
import { mediaTypes } from '../media-types.ts';
import { hostPlatform, type Platform } from '../platform.ts';
import type { UnpackParts } from '../unpack-layer.ts';
import { platformOf } from './architecture.ts';
import type { RootFacts } from './root-worker.ts';
import { storeRoot } from './split-root.ts';
import { squashfsMagic, squashfsTar } from './squashfs.ts';

/** A root file system to make an image of. */
export interface RootArchive {
  /** A tar (packed or not; with `metadata.yaml` and `rootfs/`, or the root itself), or a squashfs image. */
  content: AsyncIterable<Buffer>;
  /** `metadata.yaml`, or a tar that holds it, when they come apart. */
  metadata?: Buffer;
  /** What it was taken from, for the image's history. */
  comment: string;
  /** When its metadata does not say. */
  platform?: Platform;
}

export interface ImportedRoot {
  manifest: Descriptor;
  /** What somebody who uses it should know. */
  notes: string[];
}

/** Makes a one-layer image of a system container's root. Returns its manifest, for the caller to record. */
export async function importRoot(
  parts: UnpackParts,
  archive: RootArchive,
  signal?: AbortSignal,
): Promise<ImportedRoot> {
  const { content } = parts;
  failpoint('images.root.before');
  const { layer, facts } = await readRoot(content, archive, signal);
  failpoint('images.root.stored');
  const descriptor: Descriptor = { ...layer, mediaType: mediaTypes.ociLayer };
  const diffId = await unpackOver(parts, descriptor, [], signal);
  const platform = facts.metadata
    ? platformOf(facts.metadata.architecture)
    : (archive.platform ?? hostPlatform());
  const created = facts.metadata?.createdAt ?? new Date().toISOString();
  const manifest = await writeImage(content, [descriptor], {
    created,
    ...platform,
    config: writeConfig(configOf(facts)),
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created, comment: archive.comment }],
  });
  return { manifest, notes: notesOn(facts, platform) };
}

async function readRoot(content: ContentStore, archive: RootArchive, signal: AbortSignal | undefined) {
  const { head, rest } = await peek(archive.content, squashfsMagic.length);
  if (!head.subarray(0, squashfsMagic.length).equals(squashfsMagic))
    return await storeRoot(content, rest, { metadata: archive.metadata, signal });
  // Its reader needs to go back and forth in it.
  await using scratch = await content.scratch();
  const path = join(scratch.path, 'squashfs');
  await spool(rest, path, signal);
  return await storeRoot(content, squashfsTar(path), { metadata: archive.metadata, isRoot: true, signal });
}

/** The directory is root's alone; the reader, which is nobody, gets an open descriptor and opens that again. */
async function spool(
  source: AsyncIterable<Buffer>,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    failpoint('images.spool.before');
    const file = await open(path, 'wx', 0o400);
    await pipeline(source, file.createWriteStream(), { signal });
    await chmod(path, 0o444);
    failpoint('images.spool.after');
  } catch (error) {
    if (errnoOf(error) !== 'ENOSPC' && errnoOf(error) !== 'EDQUOT') throw error;
    throw isleError('diskFull', { path, what: 'reading an image' }, error);
  }
}

async function peek(
  source: AsyncIterable<Buffer>,
  count: number,
): Promise<{ head: Buffer; rest: AsyncGenerator<Buffer> }> {
  const pieces = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < count) {
    const next = await pieces.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  async function* rest(): AsyncGenerator<Buffer> {
    try {
      if (head.length > 0) yield head;
      for (let next = await pieces.next(); !next.done; next = await pieces.next()) yield next.value;
    } finally {
      // Not waited for: a source that waits for bytes still to come would hold up what ended this.
      pieces.return?.().catch(() => undefined);
    }
  }
  return { head, rest: rest() };
}

function configOf({ metadata, hasInit, stopSignal }: RootFacts): ImageConfig {
  const labels = Object.entries(metadata?.properties ?? {}).map(([key, value]) => [`image.${key}`, value]);
  return {
    user: '',
    env: [],
    workingDir: '',
    labels: Object.fromEntries(labels) as Record<string, string>,
    exposedPorts: [],
    volumes: [],
    ...(hasInit && { command: ['/sbin/init'] }),
    ...(stopSignal && { stopSignal }),
  };
}

function notesOn({ hasInit, ignoredTemplates }: RootFacts, platform: Platform): string[] {
  const host = hostPlatform();
  return [
    ...(hasInit ? [] : ['it has no init: name a command to run it']),
    ...(ignoredTemplates.length > 0
      ? [`templates that are not filled in: ${ignoredTemplates.join(', ')}`]
      : []),
    ...(platform.architecture === host.architecture
      ? []
      : [`it is for ${platform.architecture}, this host is ${host.architecture}`]),
  ];
}
