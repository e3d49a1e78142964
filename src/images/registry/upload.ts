import { createReadStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { isIsleError, isleError } from '../../lib/errors.ts';
import type { Descriptor } from '../content-store.ts';
import type { RegistryAuth } from '../images.ts';
import type { Reference } from '../reference.ts';
import { UnexpectedAnswer } from './answers.ts';
import { discard } from './body.ts';
import { defaultUploads, type UploadSizes } from './config.ts';
import { NetworkError, type Connections } from './connections.ts';
import { endpointsOf } from './endpoints.ts';
import { withRetries } from './retry.ts';
import { RegistrySession } from './session.ts';

const tries = 5;

export interface UploadOptions {
  /** The blob's file. */
  path: string;
  /** Repositories on the same registry that have the blob. */
  mountFrom: string[];
  signal?: AbortSignal;
  onProgress(current: number): void;
  onRetry?(seconds: number): void;
}

/** Writes to one repository of a registry, by the OCI distribution spec, section "Push". */
export class RemoteTarget {
  readonly ref: Reference;
  readonly #connections: Connections;
  readonly #auth: RegistryAuth | undefined;
  readonly #scopes: string[];
  readonly #sizes: UploadSizes;
  /** What the registry asks a chunk to have (`OCI-Chunk-Min-Length`). */
  #leastChunk = 0;
  #session: Promise<RegistrySession> | undefined;

  constructor(connections: Connections, ref: Reference, auth: RegistryAuth | undefined) {
    this.ref = ref;
    this.#connections = connections;
    this.#auth = auth;
    this.#scopes = [`repository:${ref.path}:pull,push`];
    this.#sizes = { ...defaultUploads, ...connections.config.uploads };
  }

  /** True when the repository has the blob. */
  async has(blob: Descriptor, signal?: AbortSignal): Promise<boolean> {
    const session = await this.#open(signal);
    return this.#retry(signal, async () => {
      const path = `v2/${this.ref.path}/blobs/${blob.digest}`;
      // Some registries do not answer to HEAD.
      const expect = [200, 404, 405];
      const { response } = await session.request({
        method: 'HEAD',
        path,
        scopes: this.#scopes,
        expect,
        signal,
      });
      discard(response);
      return response.statusCode === 200;
    });
  }

  /** Brings a blob: by a mount from another repository (its name is returned) or by an upload. */
  async put(blob: Descriptor, options: UploadOptions): Promise<{ mountedFrom?: string }> {
    const session = await this.#open(options.signal);
    for (const from of options.mountFrom.slice(0, 3)) {
      const started = await this.#mount(session, options, { mount: blob.digest, from });
      if (started === 'mounted') return { mountedFrom: from };
      if (started === 'refused') continue;
      // Not mounted: the registry opened an upload instead, which serves as well.
      await this.#upload(session, blob, started, options);
      return {};
    }
    const location = await this.#start(session, options);
    if (location === undefined) throw this.#wrong('201 to the start of an upload');
    await this.#upload(session, blob, location, options);
    return {};
  }

  /** Publishes a manifest under a tag (or its digest). Throws `digestMismatch` when the registry stored another. */
  async putManifest(
    reference: string,
    manifest: Descriptor,
    content: Buffer,
    signal?: AbortSignal,
  ): Promise<void> {
    const session = await this.#open(signal);
    await this.#retry(signal, async () => {
      const { response } = await session.request({
        method: 'PUT',
        path: `v2/${this.ref.path}/manifests/${reference}`,
        headers: { 'content-type': manifest.mediaType },
        body: content,
        scopes: this.#scopes,
        expect: [201, 202],
        signal,
      });
      discard(response);
      const stored = response.headers['docker-content-digest'];
      if (typeof stored === 'string' && stored !== manifest.digest)
        throw isleError('digestMismatch', {
          what: 'pushed manifest',
          expected: manifest.digest,
          actual: stored,
        });
    });
  }

  /** A mount is only a shortcut: who may not, or cannot, uploads. */
  async #mount(session: RegistrySession, options: UploadOptions, mount: { mount: string; from: string }) {
    try {
      return (await this.#start(session, options, mount)) ?? ('mounted' as const);
    } catch (error) {
      const refused = error instanceof UnexpectedAnswer && error.status < 500 && error.status !== 429;
      if (refused || isIsleError(error, 'registryUnauthorized')) return 'refused' as const;
      throw error;
    }
  }

  /** Resolves with the upload's location, or undefined when the blob was mounted. */
  async #start(session: RegistrySession, options: UploadOptions, mount?: { mount: string; from: string }) {
    const query = mount ? `?${new URLSearchParams(mount).toString()}` : '';
    const scopes = mount ? [...this.#scopes, `repository:${mount.from}:pull`] : this.#scopes;
    const request = {
      method: 'POST',
      path: `v2/${this.ref.path}/blobs/uploads/${query}`,
      body: Buffer.alloc(0),
    } as const;
    return this.#retry(options.signal, async () => {
      const { response, url } = await session.request({
        ...request,
        scopes,
        expect: [201, 202],
        signal: options.signal,
      });
      discard(response);
      const least = Number(response.headers['oci-chunk-min-length'] ?? 0);
      if (Number.isSafeInteger(least) && least <= 2 ** 30) this.#leastChunk = least;
      return response.statusCode === 201 && mount ? undefined : locationOf(response, session, url);
    });
  }

  /** Sends the blob; after a broken try asks how much arrived and goes on from there, or starts anew. */
  async #upload(
    session: RegistrySession,
    blob: Descriptor,
    start: URL,
    options: UploadOptions,
  ): Promise<void> {
    const chunk = Math.max(this.#sizes.chunk, this.#leastChunk);
    const state = { location: start as URL | undefined, offset: 0, farthest: 0, chunk };
    const { signal, onRetry } = options;
    const progressed = () => {
      const moved = state.offset > state.farthest;
      state.farthest = Math.max(state.offset, state.farthest);
      return moved;
    };
    let broken = false;
    const retry = {
      timeouts: this.#connections.timeouts,
      tries,
      signal,
      onRetry,
      progressed,
      persistent: true,
    };
    await withRetries(retry, async () => {
      if (broken) await this.#resume(session, state, options);
      broken = true;
      if (!state.location) throw this.#wrong('an upload without a Location');
      if (state.offset === 0 && blob.size <= this.#sizes.monolithic)
        return this.#finish(session, state.location, blob, options, true);
      while (state.offset < blob.size) await this.#chunk(session, state, blob, options);
      await this.#finish(session, state.location, blob, options, false);
    });
  }

  async #chunk(
    session: RegistrySession,
    state: UploadState,
    blob: Descriptor,
    options: UploadOptions,
  ): Promise<void> {
    const end = Math.min(state.offset + state.chunk, blob.size);
    const { response, url } = await session.request({
      method: 'PATCH',
      path: state.location as URL,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(end - state.offset),
        'content-range': `${state.offset}-${end - 1}`,
      },
      body: counted(options, state.offset, end),
      scopes: this.#scopes,
      expect: [202],
      signal: options.signal,
    });
    discard(response);
    state.location = locationOf(response, session, url);
    const taken = takenOf(response.headers.range) ?? end;
    if (taken <= state.offset || taken > end)
      throw new UnexpectedAnswer(url.host, 202, `it took ${taken} of ${end} bytes`, undefined);
    state.offset = taken;
  }

  async #finish(
    session: RegistrySession,
    location: URL,
    blob: Descriptor,
    options: UploadOptions,
    whole: boolean,
  ) {
    const path = new URL(location);
    path.searchParams.set('digest', blob.digest);
    const length = whole ? blob.size : 0;
    const { response } = await session.request({
      method: 'PUT',
      path,
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(length) },
      body: length > 0 ? counted(options, 0, blob.size) : Buffer.alloc(0),
      scopes: this.#scopes,
      expect: [201, 204],
      signal: options.signal,
    });
    discard(response);
  }

  async #resume(session: RegistrySession, state: UploadState, options: UploadOptions): Promise<void> {
    const { signal } = options;
    if (state.location) {
      const expect = [204, 200, 202, 404];
      const request = { method: 'GET', path: state.location, scopes: this.#scopes, expect, signal } as const;
      const { response, url } = await session.request(request);
      discard(response);
      const taken = takenOf(response.headers.range);
      if (response.statusCode !== 404 && taken !== undefined) {
        // `0-0` means nothing or one byte: registries differ, so nothing is assumed to be there.
        state.offset = taken === 1 ? 0 : taken;
        state.location = response.headers.location ? locationOf(response, session, url) : state.location;
        if (state.offset > 0) return;
      }
    }
    state.location = await this.#start(session, options);
    state.offset = 0;
  }

  /** The first endpoint that answers; the probe also meets the challenge, for streams cannot be sent twice. */
  #open(signal?: AbortSignal): Promise<RegistrySession> {
    this.#session ??= this.#probe(signal);
    this.#session.catch(() => (this.#session = undefined));
    return this.#session;
  }

  async #probe(signal?: AbortSignal): Promise<RegistrySession> {
    let first: NetworkError | undefined;
    for (const endpoint of endpointsOf(this.ref.domain, this.#connections.config, 'push')) {
      const session = new RegistrySession(this.#connections, endpoint, this.#auth);
      try {
        const path = 'v2/';
        const probe = () =>
          session.request({ method: 'GET', path, scopes: this.#scopes, expect: [200], signal });
        discard((await this.#retry(signal, probe)).response);
        return session;
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        if (first === undefined || /HTTPS/.test(first.message)) first = error;
      }
    }
    throw first;
  }

  #retry<T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
    return withRetries({ timeouts: this.#connections.timeouts, tries, signal }, action);
  }

  #wrong(what: string): Error {
    return isleError('registryAnswer', { host: this.ref.domain, what });
  }
}

interface UploadState {
  location: URL | undefined;
  offset: number;
  chunk: number;
}

/** Bytes `start` to `end` (exclusive) of the blob's file, telling how far they got. */
async function* counted(options: UploadOptions, start: number, end: number): AsyncGenerator<Buffer> {
  let current = start;
  for await (const chunk of createReadStream(options.path, {
    start,
    end: end - 1,
    highWaterMark: 256 * 1024,
  })) {
    const bytes = chunk as Buffer;
    yield bytes;
    options.onProgress((current += bytes.length));
  }
}

/** Bytes a `Range: 0-N` of the registry says it has. */
function takenOf(range: string | undefined): number | undefined {
  const last = /^(?:bytes[= ])?0-(\d{1,15})$/.exec(range ?? '')?.[1];
  return last === undefined ? undefined : Number(last) + 1;
}

function locationOf(response: IncomingMessage, session: RegistrySession, url: URL): URL {
  const location = response.headers.location;
  if (location === undefined)
    throw new UnexpectedAnswer(url.host, response.statusCode ?? 0, 'an upload without a Location', undefined);
  return session.resolve(location, url);
}
