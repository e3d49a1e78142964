import type { IncomingMessage } from 'node:http';
import { isleError } from '../../lib/errors.ts';
import type { RegistryAuth } from '../images.ts';
import { Authorizer } from './auth.ts';
import { unexpectedAnswer } from './answers.ts';
import { discard } from './body.ts';
import type { Connections, Outgoing } from './connections.ts';
import { isInsecure, type Endpoint } from './endpoints.ts';

const maxRedirects = 5;

export interface SessionRequest extends Omit<Outgoing, 'url'> {
  /** Below the endpoint's base (`v2/…`), or a whole URL the registry gave as a Location. */
  path: string | URL;
  scopes: readonly string[];
  /** Statuses that are answers; every other one is thrown as `UnexpectedAnswer`. */
  expect: readonly number[];
}

/** Authorized requests to one endpoint. */
export class RegistrySession {
  readonly endpoint: Endpoint;
  readonly connections: Connections;
  readonly #authorizer: Authorizer;

  constructor(connections: Connections, endpoint: Endpoint, auth: RegistryAuth | undefined) {
    this.endpoint = endpoint;
    this.connections = connections;
    this.#authorizer = new Authorizer(connections, endpoint, auth);
  }

  get identityToken(): string | undefined {
    return this.#authorizer.identityToken;
  }

  /**
   * Sends and follows redirects. The Authorization header is sent to the endpoint's own origin only: a redirect
   * (to a storage host) or a Location elsewhere gets none (CVE-2024-3727), and its 401 is not answered. A body
   * that is a stream cannot be sent twice, so a challenge must have been met before.
   */
  async request(request: SessionRequest): Promise<{ response: IncomingMessage; url: URL }> {
    const { path, scopes, expect, ...outgoing } = request;
    let url = typeof path === 'string' ? new URL(path, this.endpoint.base) : path;
    for (let redirects = 0; ; redirects++) {
      this.#checkScheme(url);
      const response = await this.#sendAuthorized({ ...outgoing, url }, scopes);
      const status = response.statusCode ?? 0;
      if (expect.includes(status)) return { response, url };
      const location = response.headers.location;
      const follows = outgoing.method === 'GET' || outgoing.method === 'HEAD';
      if (!follows || ![301, 302, 303, 307, 308].includes(status) || location === undefined)
        throw await unexpectedAnswer(response, url.host, this.connections);
      discard(response);
      if (redirects >= maxRedirects) throw this.#wrong(`with more than ${maxRedirects} redirects`);
      url = this.resolve(location, url);
    }
  }

  /** A Location header as a URL; only http and https. */
  resolve(location: string, base: URL): URL {
    const next = URL.parse(location, base);
    if (!next || (next.protocol !== 'https:' && next.protocol !== 'http:'))
      throw this.#wrong('with a Location that is not an http(s) URL');
    next.username = next.password = '';
    return next;
  }

  async #sendAuthorized(outgoing: Outgoing, scopes: readonly string[]): Promise<IncomingMessage> {
    if (outgoing.url.origin !== this.endpoint.base.origin) return this.connections.send(outgoing);
    for (let tries = 0; ; tries++) {
      const authorization = await this.#authorizer.header(scopes, outgoing.signal);
      const headers = authorization ? { ...outgoing.headers, authorization } : outgoing.headers;
      const response = await this.connections.send({ ...outgoing, headers });
      const replayable = outgoing.body === undefined || Buffer.isBuffer(outgoing.body);
      if (response.statusCode !== 401 || tries >= 2 || !replayable) return response;
      if (!this.#authorizer.learn(response, scopes)) return response;
      discard(response);
    }
  }

  /** An HTTPS registry must not lead us to plain HTTP. */
  #checkScheme(url: URL): void {
    const { base, insecure } = this.endpoint;
    if (
      url.protocol === 'http:' &&
      base.protocol === 'https:' &&
      !insecure &&
      !isInsecure(url.host, this.connections.config)
    )
      throw this.#wrong(`with a redirect from HTTPS to plain HTTP (${url.host})`);
  }

  #wrong(what: string): Error {
    return isleError('registryAnswer', { host: this.endpoint.registry, what });
  }
}
