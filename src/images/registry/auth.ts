import type { IncomingMessage } from 'node:http';
import { isleError } from '../../lib/errors.ts';
import type { RegistryAuth } from '../images.ts';
import { readBody } from './body.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import type { Connections, Outgoing } from './connections.ts';
import type { Endpoint } from './endpoints.ts';
import { isInsecure } from './endpoints.ts';
import { parseRetryAfter, registryWords, UnexpectedAnswer } from './answers.ts';

const maxTokenAnswer = 1024 * 1024;

/**
 * What proves to one registry who we are, learnt from its challenges: nothing, basic credentials, or bearer
 * tokens by scope (https://distribution.github.io/distribution/spec/auth/token/). Credentials go to the
 * registry's own origin and to the token server it names, never anywhere else.
 */
export class Authorizer {
  readonly #connections: Connections;
  readonly #endpoint: Endpoint;
  readonly #auth: RegistryAuth;
  #challenge: Challenge | undefined;
  #tokens = new Map<string, { value: string; expires: number }>();
  /** A refresh token, when the token server gave one (`docker login` keeps it instead of the password). */
  identityToken: string | undefined;

  constructor(connections: Connections, endpoint: Endpoint, auth: RegistryAuth | undefined) {
    this.#connections = connections;
    this.#endpoint = endpoint;
    // Credentials are the registry's: a mirror is another host and sees none.
    this.#auth = (endpoint.mirror ? undefined : auth) ?? {};
    this.identityToken = this.#auth.identityToken;
  }

  /** The Authorization header for a request that needs `scopes`, or undefined before any challenge. */
  async header(scopes: readonly string[], signal?: AbortSignal): Promise<string | undefined> {
    if (this.#auth.registryToken) return `Bearer ${headerSafe(this.#auth.registryToken)}`;
    if (this.#challenge?.scheme === 'basic') return this.#basic();
    if (this.#challenge?.scheme !== 'bearer') return undefined;
    const key = [...scopes].sort().join(' ');
    const known = this.#tokens.get(key);
    if (known && known.expires > performance.now()) return `Bearer ${known.value}`;
    const token = await this.#fetchToken(this.#challenge, scopes, signal);
    this.#tokens.set(key, token);
    return `Bearer ${token.value}`;
  }

  /** Learns from a 401. False: there is no better answer to it than what was sent. */
  learn(response: IncomingMessage, scopes: readonly string[]): boolean {
    if (this.#auth.registryToken) return false;
    const challenges = parseChallenges(response.headers['www-authenticate']);
    const bearer = challenges.find(
      ({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm'),
    );
    const basic = challenges.find(({ scheme }) => scheme === 'basic');
    if (bearer) {
      const key = [...scopes].sort().join(' ');
      const stale = this.#tokens.delete(key);
      const first = this.#challenge === undefined;
      this.#challenge = bearer;
      return first || stale;
    }
    if (!basic || this.#challenge || this.#auth.username === undefined) return false;
    this.#challenge = basic;
    return true;
  }

  #basic(): string | undefined {
    const { username, password } = this.#auth;
    if (username === undefined) return undefined;
    return `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`;
  }

  async #fetchToken(challenge: Challenge, scopes: readonly string[], signal?: AbortSignal) {
    const realm = this.#realm(challenge);
    const service = challenge.parameters.get('service');
    const request = this.identityToken
      ? refreshRequest(realm, service, scopes, this.identityToken)
      : this.#tokenRequest(realm, service, scopes);
    const response = await this.#connections.send({ ...request, signal });
    const body = await readBody(response, realm.host, maxTokenAnswer, this.#connections.timeouts);
    const status = response.statusCode ?? 0;
    if (status !== 200) throw this.#refused(status, body, response.headers['retry-after'], realm.host);
    const answer = parseToken(body, realm.host);
    this.identityToken = answer.refreshToken ?? this.identityToken;
    return answer;
  }

  #refused(status: number, body: Buffer | undefined, retryAfter: string | undefined, realm: string): Error {
    const words = registryWords(body);
    const host = this.#endpoint.registry;
    const reason = words || `the token server ${realm} answered ${status}`;
    if ([400, 401, 403].includes(status)) return isleError('registryUnauthorized', { host, reason });
    // These pass: whoever asked tries again.
    if (status === 429 || status >= 500)
      return new UnexpectedAnswer(realm, status, words, parseRetryAfter(retryAfter));
    return isleError('registryAnswer', { host: realm, what: `${status} to a token request: ${reason}` });
  }

  #tokenRequest(realm: URL, service: string | undefined, scopes: readonly string[]): Outgoing {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    const basic = this.#basic();
    if (!basic) return { method: 'GET', url };
    url.searchParams.set('account', this.#auth.username ?? '');
    url.searchParams.set('client_id', 'isle');
    if (scopes.length === 0) url.searchParams.set('offline_token', 'true');
    return { method: 'GET', url, headers: { authorization: basic } };
  }

  /** The realm comes from the registry: credentials leave over plain HTTP only to a host that is allowed to be insecure. */
  #realm(challenge: Challenge): URL {
    const text = challenge.parameters.get('realm') ?? '';
    const url = URL.parse(text);
    const wrong = (why: string) =>
      isleError('registryAnswer', {
        host: this.#endpoint.registry,
        what: `with a token server that ${why}: ${text.slice(0, 200)}`,
      });
    if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) throw wrong('is not an http(s) URL');
    if (url.protocol === 'http:' && !isInsecure(url.host, this.#connections.config))
      throw wrong('is not protected by TLS');
    url.username = url.password = url.hash = '';
    return url;
  }
}

function refreshRequest(
  url: URL,
  service: string | undefined,
  scopes: readonly string[],
  token: string,
): Outgoing {
  const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'isle', refresh_token: token });
  if (service !== undefined) form.set('service', service);
  if (scopes.length > 0) form.set('scope', scopes.join(' '));
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', url, headers, body: Buffer.from(form.toString()) };
}

function parseToken(body: Buffer | undefined, host: string) {
  const wrong = () =>
    isleError('registryAnswer', { host, what: 'a token request with something that is not a token' });
  let answer: unknown;
  try {
    answer = JSON.parse(body?.toString('utf8') ?? '');
  } catch (error) {
    throw isleError(
      'registryAnswer',
      { host, what: 'a token request with something that is not JSON' },
      error,
    );
  }
  if (typeof answer !== 'object' || answer === null) throw wrong();
  const fields = answer as Record<string, unknown>;
  const value = fields.token || fields.access_token;
  if (typeof value !== 'string') throw wrong();
  const seconds = typeof fields.expires_in === 'number' && fields.expires_in > 60 ? fields.expires_in : 60;
  const refreshToken = typeof fields.refresh_token === 'string' ? fields.refresh_token : undefined;
  // Monotonic, and a little early: a wall clock that is off changes nothing.
  return {
    value: headerSafe(value),
    expires: performance.now() + (Math.min(seconds, 86_400) - 10) * 1000,
    refreshToken,
  };
}

function headerSafe(text: string): string {
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw isleError('invalidParameter', { message: 'a registry token holds characters that no header may' });
}
