import { createHash } from 'node:crypto';
import { isleError } from '../../lib/errors.ts';
import type { Descriptor } from '../content-store.ts';
import type { ImageManifest } from '../manifest.ts';
import { isDigest } from '../reference.ts';

/** One image of a docker-archive's manifest.json. */
export interface DockerItem {
  config: string;
  layers: string[];
  names: string[];
}

const imageLimit = 1000;
const layerLimit = 127;

/** Reads manifest.json. Throws `invalidArchive`. */
export function dockerItems(document: unknown): DockerItem[] {
  return list(document, 'manifest.json', imageLimit).map((item) => {
    const { Config, Layers, RepoTags } = object(item, 'an image of manifest.json');
    return {
      config: text(Config, 'the Config of manifest.json'),
      layers: list(Layers ?? [], 'the Layers of manifest.json', layerLimit).map((layer) =>
        text(layer, 'a layer of manifest.json'),
      ),
      names: list(RepoTags ?? [], 'the RepoTags of manifest.json', imageLimit).map((name) =>
        text(name, 'a name of manifest.json'),
      ),
    };
  });
}

/** Reads index.json. A name is containerd's annotation, or the reference name when that is a whole one. */
export function ociEntries(document: unknown): { descriptor: Descriptor; name?: string }[] {
  const { manifests } = object(document, 'index.json');
  return list(manifests ?? [], 'the manifests of index.json', imageLimit).map((item) => {
    const { digest, size, mediaType, annotations } = object(item, 'a manifest of index.json');
    const named = object(annotations ?? {}, 'the annotations of index.json');
    if (
      typeof digest !== 'string' ||
      !isDigest(digest) ||
      typeof size !== 'number' ||
      !Number.isSafeInteger(size)
    ) {
      throw wrong('a manifest of index.json has no valid digest and size');
    }
    const full = named['io.containerd.image.name'];
    const short = named['org.opencontainers.image.ref.name'];
    const name =
      typeof full === 'string' ? full : typeof short === 'string' && /[/:]/.test(short) ? short : undefined;
    return { descriptor: { digest, size, mediaType: text(mediaType, 'a media type of index.json') }, name };
  });
}

/** The bytes of an image manifest. */
export function manifestContent({ mediaType, config, layers }: ImageManifest): Buffer {
  const plain = ({ digest, size, mediaType: type }: Descriptor): Descriptor => ({
    mediaType: type,
    digest,
    size,
  });
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType, config: plain(config), layers: layers.map(plain) }),
  );
}

export function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

function list(value: unknown, what: string, limit: number): unknown[] {
  if (!Array.isArray(value)) throw wrong(`${what} is not a list`);
  if (value.length > limit) throw wrong(`${what} has more than ${limit} entries`);
  return value;
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrong(`${what} is not an object`);
  return value as Record<string, unknown>;
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string' || value.length > 4096 || value.includes('\0'))
    throw wrong(`${what} is not a name`);
  return value;
}

function wrong(why: string): Error {
  return isleError('invalidArchive', { why });
}
