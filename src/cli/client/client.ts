import type { Duplex, Readable } from 'node:stream';
import { errnoOf } from '../../lib/errors.ts';
import { type Address, formatAddress } from './address.ts';
import { ApiError, unreachable } from './errors.ts';
import { httpRequest, type HttpResponse } from './http.ts';
import { jsonLines, readAll } from './lines.ts';

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

export interface RequestOptions {
  query?: Query;
  /** Sent as JSON, or as it is when a stream. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** A connection that became a raw stream in both directions, half-closable with `end()`. */
export interface Hijacked {
  socket: Duplex;
  contentType: string;
}

/** Docker's API version that this client speaks. */
export const apiVersion = '1.51';

/** Talks to the daemon's socket. Paths under /isle/ are Isle's own; the others get the API version in front. */
export class Client {
  readonly address: Address;

  constructor(address: Address) {
    this.address = address;
  }

  get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
    return this.json('GET', path, { ...(query && { query }), ...(signal && { signal }) });
  }

  post<T = void>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.json('POST', path, options);
  }

  delete<T = void>(path: string, query?: Query): Promise<T> {
    return this.json('DELETE', path, query ? { query } : {});
  }

  /** The whole answer as JSON; undefined where it is empty. Throws {@link ApiError}. */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const response = await this.stream(method, path, options);
    const text = (await readAll(response.body)).toString();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** The status alone, for answers that say something by it (304). Throws {@link ApiError} from 400 on. */
  async status(method: string, path: string, options: RequestOptions = {}): Promise<number> {
    const response = await this.stream(method, path, options);
    response.body.resume();
    return response.status;
  }

  /** One JSON value a line as they arrive. */
  async *lines<T>(method: string, path: string, options: RequestOptions = {}): AsyncGenerator<T> {
    const response = await this.stream(method, path, options);
    yield* jsonLines<T>(response.body);
  }

  /** The answer, its body a stream, once its status is known to be below 400. Throws {@link ApiError}. */
  async stream(method: string, path: string, options: RequestOptions = {}): Promise<HttpResponse> {
    const { body } = options;
    const streamed = isReadable(body);
    const response = await this.#request(method, path, options, {
      ...(body === undefined ? {} : { 'content-type': streamed ? 'application/x-tar' : 'application/json' }),
    });
    if (response.status >= 400) throw await ApiError.from(response);
    return response;
  }

  async body(method: string, path: string, options: RequestOptions = {}): Promise<Readable> {
    return (await this.stream(method, path, options)).body;
  }

  /** Upgrades the connection: attach and exec. */
  async hijack(path: string, options: RequestOptions = {}): Promise<Hijacked> {
    const response = await this.#request(
      'POST',
      path,
      { ...options, body: options.body ?? {} },
      {
        'content-type': 'application/json',
        connection: 'Upgrade',
        upgrade: 'tcp',
      },
    );
    if (!response.upgraded) throw await ApiError.from(response);
    return { socket: response.upgraded, contentType: response.headers['content-type'] ?? '' };
  }

  async #request(
    method: string,
    path: string,
    { query, body, headers, signal }: RequestOptions,
    own: Record<string, string>,
  ): Promise<HttpResponse> {
    const prefix = path.startsWith('/isle/') || path === '/_ping' ? '' : `/v${apiVersion}`;
    try {
      return await httpRequest({
        address: this.address,
        method,
        path: `${prefix}${path}${formatQuery(query)}`,
        headers: { host: 'isle', ...own, ...headers },
        body: body === undefined || isReadable(body) ? body : JSON.stringify(body),
        signal,
      });
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'EACCES' || code === 'ENOTDIR')
        if (isConnect(error)) throw unreachable(formatAddress(this.address), code, error);
      throw error;
    }
  }
}

export function formatQuery(query: Query | undefined): string {
  if (!query) return '';
  const parts: string[] = [];
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined) continue;
    const values = Array.isArray(value) ? (value as readonly string[]) : [String(value)];
    for (const one of values) parts.push(`${key}=${encodeURIComponent(one)}`);
  }
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
}

function isReadable(value: unknown): value is Readable {
  return typeof value === 'object' && value !== null && 'pipe' in value;
}

/** A file to be sent that is missing has the same code as a socket that is. */
function isConnect(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && error.syscall === 'connect';
}
