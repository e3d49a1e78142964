import { isleError } from '../lib/errors.ts';
import type { Descriptor } from './content-store.ts';
import { parseManifest, type ImageManifest } from './manifest.ts';
import { choosePlatform, formatPlatform, hostPlatform, parsePlatform, type Platform } from './platform.ts';
import { familiarName, type Reference } from './reference.ts';
import type { RemoteManifest, RemoteRepository } from './registry/repository.ts';

export interface ResolvedImage {
  /** What the name stands for: the digest of the index, or of the manifest where there is no index. */
  digest: string;
  manifest: ImageManifest;
  descriptor: Descriptor;
  content: Buffer;
  /** Set when the caller asked for one; the configuration must agree. */
  wanted: Platform | undefined;
}

const maxNesting = 3;

/**
 * Asks the registry what `ref` is and picks the image for `platform` (default: this machine's). Throws
 * `noMatchingPlatform` naming what there is, `invalidManifest`, and what the registry layer throws.
 */
export async function resolveImage(
  repository: RemoteRepository,
  ref: Reference,
  options: { platform?: string; signal?: AbortSignal },
): Promise<ResolvedImage> {
  const { signal } = options;
  const wanted = options.platform ? parsePlatform(options.platform) : undefined;
  const top = await repository.manifest(ref.digest ?? ref.tag ?? 'latest', signal);
  let current: RemoteManifest = top;
  for (let depth = 0; depth <= maxNesting; depth++) {
    const manifest = parseManifest(current.content, current.mediaType, current.digest);
    if (manifest.kind === 'image') {
      const descriptor = {
        digest: current.digest,
        size: current.content.length,
        mediaType: manifest.mediaType,
      };
      return { digest: top.digest, manifest, descriptor, content: current.content, wanted };
    }
    const entry = choose(manifest.entries, wanted ?? hostPlatform(), ref);
    const next = await repository.manifest(entry.digest, signal);
    if (next.content.length !== entry.size)
      throw isleError('invalidManifest', {
        digest: entry.digest,
        why: 'its size is not the one its index names',
      });
    current = { ...next, mediaType: next.mediaType ?? entry.mediaType };
  }
  throw isleError('invalidManifest', {
    digest: top.digest,
    why: `its indexes are nested more than ${maxNesting} deep`,
  });
}

function choose<T extends Descriptor & { platform?: Platform }>(
  entries: T[],
  wanted: Platform,
  ref: Reference,
): T {
  const found =
    choosePlatform(entries, wanted) ??
    (entries.length === 1 && !entries[0]?.platform ? entries[0] : undefined);
  if (found) return found;
  const runnable = entries.flatMap(({ platform }) =>
    platform && platform.os !== 'unknown' && platform.os !== '' ? [formatPlatform(platform)] : [],
  );
  throw isleError('noMatchingPlatform', {
    wanted: formatPlatform(wanted),
    ref: familiarName(ref),
    available: runnable.slice(0, 20).join(', ') || 'no platform at all',
  });
}
