import type { IncomingMessage } from 'node:http';
import { createHash } from 'node:crypto';
import { isleError } from '../../lib/errors.ts';
import type { Descriptor } from '../content-store.ts';
import type { RegistryAuth } from '../images.ts';
import { manifestTypes } from '../media-types.ts';
import { maxManifestBytes } from '../manifest.ts';
import { isDigest, type Reference } from '../reference.ts';
import { UnexpectedAnswer } from './answers.ts';
import { blobStream, type BlobStream } from './blob-stream.ts';
import { discard, readBody } from './body.ts';
import { NetworkError, type Connections } from './connections.ts';
import { endpointsOf } from './endpoints.ts';
import { withRetries } from './retry.ts';
import { RegistrySession } from './session.ts';

const maxTagList = 4 * 1024 * 1024;
const maxTags = 100_000;
const metadataTries = 4;

export interface RemoteManifest {
  content: Buffer;
  digest: string;
  /** The Content-Type it came with. */
  mediaType: string | undefined;
}

/**
 * Reads from one repository of a registry, through its mirrors first. The first endpoint that answers serves
 * what follows; when it cannot, the next one is tried.
 */
export class RemoteRepository {
  readonly ref: Reference;
  readonly #connections: Connections;
  readonly #sessions: RegistrySession[];
  readonly #scopes: string[];
  #current = 0;

  constructor(connections: Connections, ref: Reference, auth: RegistryAuth | undefined) {
    this.ref = ref;
    this.#connections = connections;
    this.#sessions = endpointsOf(ref.domain, connections.config, 'pull').map(
      (endpoint) => new RegistrySession(connections, endpoint, auth),
    );
    this.#scopes = [`repository:${ref.path}:pull`];
  }

  /**
   * The manifest of a tag or digest, verified against the digest it was asked by or announced with. Throws
   * `UnexpectedAnswer`, `NetworkError`, `digestMismatch`, `invalidManifest`.
   */
  manifest(reference: string, signal?: AbortSignal): Promise<RemoteManifest> {
    return this.#try(signal, (session) => this.#fetchManifest(session, reference, signal));
  }

  /** The digest a tag has now, without counting as a pull at rate-limited registries. Undefined: not told. */
  manifestDigest(reference: string, signal?: AbortSignal): Promise<string | undefined> {
    return this.#try(signal, async (session) => {
      const { response } = await this.#get(session, `manifests/${reference}`, signal, 'HEAD');
      discard(response);
      const digest = response.headers['docker-content-digest'];
      return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
    });
  }

  /** Opens a blob from `offset` on. `etag` is what an earlier try of the same blob told. Throws `blobUnknown`. */
  blob(
    blob: Descriptor,
    offset: number,
    options: { etag?: string; signal?: AbortSignal },
  ): Promise<BlobStream> {
    const opened = this.#across(async (session) => {
      const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
      // A weak ETag cannot vouch for bytes (RFC 9110, section 13.1.5); the digest does in the end anyway.
      if (offset > 0 && options.etag && !options.etag.startsWith('W/')) range['if-range'] = options.etag;
      const { response, url } = await session.request({
        method: 'GET',
        path: `v2/${this.ref.path}/blobs/${blob.digest}`,
        headers: { ...range, 'accept-encoding': 'identity' },
        scopes: this.#scopes,
        expect: offset > 0 ? [200, 206, 416] : [200],
        signal: options.signal,
      });
      return this.#openStream(response, url.host, blob, offset, options.signal);
    });
    return opened.catch((error: unknown) => {
      if (!(error instanceof UnexpectedAnswer) || error.status !== 404) throw error;
      throw isleError('blobUnknown', { host: this.ref.domain, digest: blob.digest }, error);
    });
  }

  /** Every tag of the repository. */
  async tags(signal?: AbortSignal): Promise<string[]> {
    return this.#try(signal, async (session) => {
      const tags: string[] = [];
      let path: string | URL | undefined = `v2/${this.ref.path}/tags/list?n=1000`;
      for (let page = 0; path !== undefined; page++) {
        if (page > maxTags / 100 || tags.length > maxTags) throw this.#wrong('with an endless list of tags');
        const { response, url } = await session.request({
          method: 'GET',
          path,
          scopes: this.#scopes,
          expect: [200],
          signal,
        });
        const body = await readBody(response, url.host, maxTagList, this.#connections.timeouts);
        tags.push(...this.#parseTags(body));
        const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(String(response.headers.link ?? ''))?.[1];
        path = next === undefined ? undefined : session.resolve(next, url);
      }
      return tags;
    });
  }

  async #fetchManifest(
    session: RegistrySession,
    reference: string,
    signal?: AbortSignal,
  ): Promise<RemoteManifest> {
    const { response, url } = await this.#get(session, `manifests/${reference}`, signal, 'GET');
    const content = await readBody(response, url.host, maxManifestBytes, this.#connections.timeouts);
    if (!content)
      throw isleError('invalidManifest', {
        digest: reference,
        why: `it is larger than ${maxManifestBytes} bytes`,
      });
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    const announced = response.headers['docker-content-digest'];
    const expected = isDigest(reference) ? reference : announced;
    if (typeof expected === 'string' && isDigest(expected) && expected !== digest)
      throw isleError('digestMismatch', { what: `manifest ${this.ref.path}`, expected, actual: digest });
    return { content, digest, mediaType: response.headers['content-type'] };
  }

  #get(session: RegistrySession, what: string, signal: AbortSignal | undefined, method: 'GET' | 'HEAD') {
    return session.request({
      method,
      path: `v2/${this.ref.path}/${what}`,
      headers: { accept: manifestTypes.join(', ') },
      scopes: this.#scopes,
      expect: [200],
      signal,
    });
  }

  async #openStream(
    response: IncomingMessage,
    host: string,
    blob: Descriptor,
    offset: number,
    signal: AbortSignal | undefined,
  ): Promise<BlobStream> {
    if (response.statusCode === 416) {
      discard(response);
      return this.blob(blob, 0, { signal });
    }
    const { timeouts } = this.#connections;
    return blobStream(response, { host, server: this.ref.domain, blob, offset, timeouts });
  }

  #parseTags(body: Buffer | undefined): string[] {
    try {
      const answer = JSON.parse(body?.toString('utf8') ?? '') as { tags?: unknown } | null;
      const tags: unknown = answer?.tags ?? [];
      if (
        Array.isArray(tags) &&
        tags.every((tag): tag is string => typeof tag === 'string' && /^\w[\w.-]{0,127}$/.test(tag))
      )
        return tags;
    } catch {
      // Answered below: what cannot be read is as wrong as what has the wrong shape.
    }
    throw this.#wrong('a list of tags that cannot be read');
  }

  /** Metadata: small, so the registry gets a few tries. A mirror gets one: what it cannot do now the next one can. */
  #try<T>(signal: AbortSignal | undefined, action: (session: RegistrySession) => Promise<T>): Promise<T> {
    const { timeouts } = this.#connections;
    return this.#across((session) => {
      const tries = session.endpoint.mirror ? 1 : metadataTries;
      return withRetries({ timeouts, tries, signal }, () => action(session));
    });
  }

  /**
   * From the endpoint that worked last on: a mirror that fails in any way, and a scheme nobody listens to, are passed
   * by. Calls run side by side, so each counts for itself. The last failure is the one to tell.
   */
  async #across<T>(action: (session: RegistrySession) => Promise<T>): Promise<T> {
    for (let i = this.#current; ; i++) {
      const session = this.#sessions[i] as RegistrySession;
      try {
        const result = await action(session);
        this.#current = Math.max(this.#current, i);
        return result;
      } catch (error) {
        const { mirror, base } = session.endpoint;
        const passable = mirror || (error instanceof NetworkError && base.protocol === 'https:');
        if (!passable || i === this.#sessions.length - 1) throw error;
      }
    }
  }

  #wrong(what: string): Error {
    return isleError('registryAnswer', { host: this.ref.domain, what });
  }
}
