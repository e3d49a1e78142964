import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { type ApiVersion, currentVersion, parseVersion } from './api-version.ts';
import type { Connections } from './connections.ts';
import { Fields } from './fields.ts';
import { hijack } from './hijack.ts';
import { readJson } from './json-body.ts';
import { Query } from './query.ts';
import type { Reply } from './reply.ts';

export interface Route {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** With `:name` for parameters. */
  path: string;
  handle(call: Call): Reply | Promise<Reply>;
}

/** One request, as handlers see it. */
export class Call {
  readonly request: IncomingMessage;
  readonly version: ApiVersion;
  readonly query: Query;
  readonly #params: Record<string, string>;
  readonly #reply: FastifyReply;
  readonly #connections: Connections;
  #gone?: AbortController;

  constructor(
    request: IncomingMessage,
    params: Record<string, string>,
    reply: FastifyReply,
    connections: Connections,
  ) {
    this.request = request;
    this.#params = params;
    this.#reply = reply;
    this.#connections = connections;
    const version = connections.version(request);
    this.version = version === undefined ? currentVersion : parseVersion(version);
    this.query = new Query(request.url ?? '');
  }

  param(name: string): string {
    return this.#params[name] ?? '';
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** Aborts when the client goes away before the answer is complete. */
  get signal(): AbortSignal {
    if (!this.#gone) {
      const gone = (this.#gone = new AbortController());
      const response: ServerResponse = this.#reply.raw;
      if (response.closed || response.destroyed) gone.abort();
      response.once('close', () => {
        if (!response.writableFinished) gone.abort(new DOMException('the client is gone', 'AbortError'));
      });
    }
    return this.#gone.signal;
  }

  /** The JSON object in the body; an empty body is an empty object. Throws `invalidParameter`. */
  async json(): Promise<Fields> {
    return new Fields((await readJson(this.request)) ?? {});
  }

  /** The body as it comes. */
  get body(): IncomingMessage {
    return this.request;
  }

  /** Sends the headers now and gives the body to write; the handler then answers `taken`. */
  stream(contentType: string, headers: Record<string, string> = {}): ServerResponse {
    const response = this.#take();
    response.writeHead(200, { ...this.#fixedHeaders(), ...headers, 'content-type': contentType });
    response.flushHeaders();
    this.#connections.streams(this.request.socket);
    return response;
  }

  /** Takes the connection out of HTTP (see {@link hijack}); the handler then answers `taken`. */
  hijack(contentType: string): Duplex {
    return hijack(this.request, this.#take(), this.#connections, contentType);
  }

  #take(): ServerResponse {
    this.#reply.hijack();
    return this.#reply.raw;
  }

  #fixedHeaders(): Record<string, string> {
    return this.#reply.getHeaders() as Record<string, string>;
  }
}
