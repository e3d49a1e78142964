import { isleError } from '../lib/errors.ts';
import { type Fail, isObject, type Json, parseJson } from './json-document.ts';
import type { Descriptor } from './content-store.ts';
import { isImageConfig, layerKind, manifestTypes, mediaTypes } from './media-types.ts';
import type { Platform } from './platform.ts';
import { isDigest } from './reference.ts';

/** Bytes of the largest manifest and configuration Isle reads; Docker and containerd stop at the same. */
export const maxManifestBytes = 4 * 1024 * 1024;
export const maxConfigBytes = 8 * 1024 * 1024;
/** Overlay mounts and Docker's own limit both end near here. */
const maxLayers = 127;
const maxEntries = 2000;
const maxLayerBytes = 2 ** 44;

export interface ImageManifest {
  kind: 'image';
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
}

export interface IndexManifest {
  kind: 'index';
  mediaType: string;
  entries: IndexEntry[];
}

export interface IndexEntry extends Descriptor {
  platform?: Platform;
}

/**
 * Parses a manifest or an index. `declared` is the media type it came with (a Content-Type or a descriptor's).
 *
 * A document that could be read as two things is refused (CVE-2021-41190): its own `mediaType` must be the
 * declared one, and it must not have both `manifests` and `layers`. Throws `invalidManifest`.
 */
export function parseManifest(
  content: Buffer,
  declared: string | undefined,
  digest: string,
): ImageManifest | IndexManifest {
  const fail = (why: string) => isleError('invalidManifest', { digest, why });
  if (content.length > maxManifestBytes) throw fail(`it is larger than ${maxManifestBytes} bytes`);
  const document = parseJson(content, fail);
  const named = mediaTypeOf(declared);
  if (
    named?.startsWith('application/vnd.docker.distribution.manifest.v1') ||
    document.schemaVersion === 1 ||
    'fsLayers' in document
  )
    throw fail('it has the long deprecated schema 1 format: push the image again with a current tool');
  if (document.schemaVersion !== 2) throw fail('its schemaVersion is not 2');
  const own = document.mediaType;
  if (own !== undefined && typeof own !== 'string') throw fail('its mediaType is not a string');
  const generic = named === undefined || !named.startsWith('application/vnd.');
  if (own !== undefined && !generic && own !== named)
    throw fail(`it says it is ${show(own)}, but was delivered as ${show(named)}`);
  const mediaType = generic ? own : named;
  if (mediaType === undefined || !manifestTypes.includes(mediaType))
    throw fail(`its media type ${show(mediaType ?? named)} is not one of an image`);
  const isIndex = mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerList;
  if ('manifests' in document && ('layers' in document || 'config' in document))
    throw fail('it has both manifests and layers, so it could be read in two ways');
  return isIndex ? parseIndex(document, mediaType, fail) : parseImage(document, mediaType, fail);
}

function parseImage(document: Json, mediaType: string, fail: Fail): ImageManifest {
  if ('manifests' in document) throw fail('an image manifest must not have manifests');
  const config = descriptor(document.config, 'config', fail);
  if (!isImageConfig(config.mediaType))
    throw fail(`it is not a container image: its configuration is ${show(config.mediaType)}`);
  if (config.size > maxConfigBytes) throw fail(`its configuration is larger than ${maxConfigBytes} bytes`);
  if (!Array.isArray(document.layers)) throw fail('it has no list of layers');
  if (document.layers.length > maxLayers) throw fail(`it has more than ${maxLayers} layers`);
  const layers = document.layers.map((layer: unknown, i) => {
    const found = descriptor(layer, `layer ${i}`, fail);
    const kind = layerKind(found.mediaType);
    if (kind === 'foreign')
      throw fail(
        `layer ${i} (${found.digest}) is a foreign layer, which registries do not hold; such images are not supported`,
      );
    if (kind === undefined) throw fail(`layer ${i} has the unknown media type ${show(found.mediaType)}`);
    return found;
  });
  return { kind: 'image', mediaType, config, layers };
}

function parseIndex(document: Json, mediaType: string, fail: Fail): IndexManifest {
  if ('layers' in document || 'config' in document)
    throw fail('an index must not have layers or a configuration');
  if (!Array.isArray(document.manifests)) throw fail('it has no list of manifests');
  if (document.manifests.length > maxEntries) throw fail(`it has more than ${maxEntries} entries`);
  const entries = document.manifests.map((value: unknown, i): IndexEntry => {
    const found = descriptor(value, `manifest ${i}`, fail);
    const platform = (value as Json).platform;
    return platform === undefined || platform === null
      ? found
      : { ...found, platform: parseEntryPlatform(platform, `manifest ${i}`, fail) };
  });
  return { kind: 'index', mediaType, entries };
}

function parseEntryPlatform(value: unknown, what: string, fail: Fail): Platform {
  if (!isObject(value)) throw fail(`the platform of ${what} is not an object`);
  const text = (key: string) => {
    const found = value[key] ?? '';
    if (typeof found !== 'string' || !/^[\w.-]{0,64}$/.test(found))
      throw fail(`the ${key} of ${what} is malformed`);
    return found;
  };
  const variant = text('variant');
  return { os: text('os'), architecture: text('architecture'), ...(variant ? { variant } : {}) };
}

function descriptor(value: unknown, what: string, fail: Fail): Descriptor {
  if (!isObject(value)) throw fail(`${what} is not an object`);
  const { digest, size, mediaType } = value;
  if (typeof digest !== 'string' || !isDigest(digest))
    throw fail(`the digest of ${what} is not a sha256 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || size > maxLayerBytes)
    throw fail(`the size of ${what} is not a plausible number of bytes`);
  if (typeof mediaType !== 'string' || !/^[\w.+/-]{1,255}$/.test(mediaType))
    throw fail(`the media type of ${what} is malformed`);
  return { digest, size, mediaType };
}

function mediaTypeOf(header: string | undefined): string | undefined {
  const type = header?.split(';', 1)[0]?.trim().toLowerCase();
  return type || undefined;
}

function show(text: string | undefined): string {
  return text === undefined ? '(none)' : `"${text.slice(0, 120).replace(/[^\x20-\x7e]/g, '?')}"`;
}
