import type { IncomingMessage } from 'node:http';
import { isleError } from '../../lib/errors.ts';
import type { Descriptor } from '../content-store.ts';
import { guardedBody } from './body.ts';
import type { RegistryTimeouts } from './config.ts';

export interface BlobStream {
  /** Where in the blob `body` starts: the asked-for offset, or 0 when the server ignored the Range. */
  start: number;
  etag: string | undefined;
  body: AsyncIterable<Buffer>;
}

/** Where a blob comes from, for `downloadBlob`. */
export interface BlobServer {
  /** How errors name it. */
  readonly ref: { readonly domain: string };
  /** Opens a blob from `offset` on. `etag` is what an earlier try of the same blob told. */
  blob(
    blob: Descriptor,
    offset: number,
    options: { etag?: string; signal?: AbortSignal },
  ): Promise<BlobStream>;
}

/** The bytes of a 200 or 206 for `blob`. Throws `registryAnswer` when they cannot be those that were asked for. */
export function blobStream(
  response: IncomingMessage,
  asked: { host: string; server: string; blob: Descriptor; offset: number; timeouts: RegistryTimeouts },
): BlobStream {
  const { host, server, blob, offset, timeouts } = asked;
  const start = response.statusCode === 206 ? offset : 0;
  const wrong = (what: string): Error => {
    response.destroy();
    return isleError('registryAnswer', { host: server, what: `${what} for blob ${blob.digest}` });
  };
  if (start > 0 && !matchesRange(response.headers['content-range'], offset, blob.size))
    throw wrong('a different range than asked');
  const length = response.headers['content-length'];
  if (length !== undefined && Number(length) !== blob.size - start)
    throw wrong(`${length} bytes instead of ${blob.size - start}`);
  const encoding = response.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw wrong('a content encoding nobody asked for');
  return { start, etag: response.headers.etag, body: guardedBody(response, host, timeouts) };
}

function matchesRange(header: string | undefined, offset: number, size: number): boolean {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header ?? '');
  if (!match) return false;
  return (
    Number(match[1]) === offset &&
    Number(match[2]) === size - 1 &&
    (match[3] === '*' || Number(match[3]) === size)
  );
}
