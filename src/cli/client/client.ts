import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { createConnection, type NetConnectOpts, type Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errnoOf } from '../../lib/errors.ts';
import { type Address, formatAddress } from './address.ts';
import { ApiError, unreachable } from './errors.ts';
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
    const text = (await readAll(response)).toString();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** The status alone, for answers that say something by it (304). Throws {@link ApiError} from 400 on. */
  async status(method: string, path: string, options: RequestOptions = {}): Promise<number> {
    const response = await this.stream(method, path, options);
    response.resume();
    return response.statusCode ?? 0;
  }

  /** One JSON value a line as they arrive. */
  async *lines<T>(method: string, path: string, options: RequestOptions = {}): AsyncGenerator<T> {
    const response = await this.stream(method, path, options);
    yield* jsonLines<T>(response);
  }

  /** The answer's body as a stream, once its status is known to be below 400. */
  async stream(method: string, path: string, options: RequestOptions = {}): Promise<IncomingMessage> {
    const { body, headers, signal } = options;
    const streamed = isReadable(body);
    const encoded = body === undefined || streamed ? undefined : JSON.stringify(body);
    const request = httpRequest({
      ...this.#target(method, path, options.query),
      headers: {
        host: 'isle',
        ...(streamed ? { 'content-type': 'application/x-tar' } : {}),
        ...(encoded === undefined
          ? method === 'POST' && !streamed
            ? { 'content-length': '0' }
            : {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(encoded).toString() }),
        ...headers,
      },
      ...(signal && { signal }),
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve);
      request.on('error', reject);
    });
    let sent: Promise<void> | undefined;
    if (streamed) {
      sent = pipeline(body, request);
      sent.catch(() => {});
    } else request.end(encoded);
    let response: IncomingMessage;
    try {
      response = await answered;
    } catch (error) {
      // A source that fails (a file that went away) is the reason, not the connection it took down.
      if (sent && errnoOf(error) === undefined) await sent;
      throw this.#explain(error);
    }
    if ((response.statusCode ?? 0) >= 400) throw await ApiError.from(response);
    return response;
  }

  /** Upgrades the connection: attach and exec. */
  async hijack(path: string, options: RequestOptions = {}): Promise<Hijacked> {
    const encoded = options.body === undefined ? '' : JSON.stringify(options.body);
    const request = httpRequest({
      ...this.#target('POST', path, options.query),
      createConnection: () => createConnection({ ...this.address, allowHalfOpen: true } as NetConnectOpts),
      headers: {
        host: 'isle',
        connection: 'Upgrade',
        upgrade: 'tcp',
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(encoded).toString(),
      },
      ...(options.signal && { signal: options.signal }),
    });
    request.end(encoded);
    const { response, socket } = await this.#upgraded(request);
    return { socket, contentType: response.headers['content-type'] ?? '' };
  }

  #upgraded(request: ClientRequest): Promise<{ response: IncomingMessage; socket: Socket }> {
    return new Promise((resolve, reject) => {
      request.on('error', (error) => reject(this.#explain(error)));
      request.once('response', (response) => {
        ApiError.from(response).then(reject, reject);
      });
      request.once('upgrade', (response, socket, head) => {
        if (head.length > 0) socket.unshift(head);
        resolve({ response, socket: socket as Socket });
      });
    });
  }

  #target(method: string, path: string, query: Query | undefined) {
    const prefix = path.startsWith('/isle/') || path === '/_ping' ? '' : `/v${apiVersion}`;
    return { ...this.address, method, path: `${prefix}${path}${formatQuery(query)}`, agent: false as const };
  }

  #explain(error: unknown): unknown {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'EACCES' || code === 'ENOTDIR')
      return unreachable(formatAddress(this.address), code, error);
    return error;
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
