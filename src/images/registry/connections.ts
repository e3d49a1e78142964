import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { errnoOf, isleError, messageOf } from '../../lib/errors.ts';
import { defaultTimeouts, type RegistryConfig, type RegistryTimeouts } from './config.ts';
import { isInsecure, tlsOf, type HostTls } from './endpoints.ts';
import { proxyFor } from './proxy.ts';

export interface Outgoing {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: URL;
  headers?: Record<string, string>;
  /** Bytes, or a stream of known or unknown length (then `content-length` in `headers` says it). */
  body?: Buffer | AsyncIterable<Uint8Array>;
  signal?: AbortSignal;
}

/** A network failure: a retry may help. */
export class NetworkError extends Error {
  readonly reason: string;
  constructor(host: string, reason: string, cause: unknown) {
    super(`${host}: ${reason}`, { cause });
    this.name = 'NetworkError';
    this.reason = reason;
  }
}

const maxAgents = 64;

/** Keep-alive connections to registries, one agent an origin, each with the proxy and certificates of its host. */
export class Connections {
  readonly config: RegistryConfig;
  readonly timeouts: RegistryTimeouts;
  #agents = new Map<string, Promise<HttpAgent>>();

  constructor(config: RegistryConfig) {
    this.config = config;
    this.timeouts = { ...defaultTimeouts, ...config.timeouts };
  }

  /** Sends one request; resolves with the answer's headers read. Throws `NetworkError`, or the abort reason. */
  async send(outgoing: Outgoing): Promise<IncomingMessage> {
    outgoing.signal?.throwIfAborted();
    const agent = await this.#agent(outgoing.url);
    return exchange(outgoing, agent, this.timeouts);
  }

  /** Closes idle and busy connections. */
  close(): void {
    for (const agent of this.#agents.values())
      agent.then(
        (made) => made.destroy(),
        () => undefined,
      );
    this.#agents.clear();
  }

  #agent(url: URL): Promise<HttpAgent> {
    let agent = this.#agents.get(url.origin);
    if (!agent) {
      agent = this.#makeAgent(url);
      this.#agents.set(url.origin, agent);
      this.#forgetOldest();
      agent.catch(() => this.#agents.delete(url.origin));
    }
    return agent;
  }

  /** Redirects may lead to ever new hosts. What is forgotten closes its idle connections by itself. */
  #forgetOldest(): void {
    const [oldest] = this.#agents.keys();
    if (this.#agents.size > maxAgents && oldest !== undefined) this.#agents.delete(oldest);
  }

  async #makeAgent(url: URL): Promise<HttpAgent> {
    const proxy = proxyFor(url, this.config.environment ?? process.env);
    const proxyEnv = proxy ? { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } : undefined;
    // Node gives an address 250 ms before it drops it for the next: too short for a far registry.
    const pool = {
      autoSelectFamilyAttemptTimeout: 2500,
      keepAlive: true,
      keepAliveMsecs: 10_000,
      maxSockets: 16,
      timeout: 30_000,
      proxyEnv,
    };
    if (url.protocol === 'http:') return new HttpAgent(pool);
    const rejectUnauthorized = !isInsecure(url.host, this.config);
    const secureContext = contextFor(await tlsOf(url.host, this.config), rejectUnauthorized);
    return new HttpsAgent({ ...pool, rejectUnauthorized, secureContext });
  }
}

/** Made once for a host: its hundreds of authorities take milliseconds to read. The system's own count, as for Docker. */
function contextFor(tls: HostTls, verify: boolean): SecureContext {
  const ca = [...getCACertificates('bundled'), ...getCACertificates('system'), ...tls.ca];
  return createSecureContext({
    minVersion: 'TLSv1.2',
    ...(verify && { ca: [...new Set(ca)] }),
    ...(tls.certs.length > 0 && {
      cert: tls.certs.map(({ cert }) => cert),
      key: tls.certs.map(({ key }) => key),
    }),
  });
}

function exchange(
  outgoing: Outgoing,
  agent: HttpAgent,
  timeouts: RegistryTimeouts,
): Promise<IncomingMessage> {
  const { method, url, headers, body, signal } = outgoing;
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const length = Buffer.isBuffer(body) ? { 'content-length': String(body.length) } : {};
    const request = send(url, {
      method,
      agent,
      signal,
      headers: { 'user-agent': 'isle', ...length, ...headers },
    });
    let timer = setTimeout(
      () => expire(`no connection within ${timeouts.connect / 1000} s`),
      timeouts.connect,
    );
    const expire = (reason: string) => request.destroy(new NetworkError(url.host, reason, undefined));
    const waitForHeaders = () => {
      clearTimeout(timer);
      timer = setTimeout(() => expire(`no answer within ${timeouts.headers / 1000} s`), timeouts.headers);
    };
    request.on('socket', (socket) => {
      const ready = url.protocol === 'https:' ? 'secureConnect' : 'connect';
      if (request.reusedSocket) clearTimeout(timer);
      else socket.once(ready, () => clearTimeout(timer));
    });
    request.on('finish', waitForHeaders);
    request.on('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(signal?.aborted ? signal.reason : asNetworkError(url.host, error));
    });
    if (body === undefined || Buffer.isBuffer(body)) request.end(body);
    else
      pump(body, request).catch((error: unknown) =>
        request.destroy(error instanceof Error ? error : undefined),
      );
  });
}

async function pump(body: AsyncIterable<Uint8Array>, request: ReturnType<typeof httpRequest>): Promise<void> {
  const { pipeline } = await import('node:stream/promises');
  await pipeline(body, request);
}

function asNetworkError(host: string, error: unknown): unknown {
  if (error instanceof NetworkError) return error;
  const code = errnoOf(error);
  if (code === undefined) return error;
  return new NetworkError(host, reasonOf(code, error), error);
}

/** Words for what users see most; a certificate problem says what to do. */
function reasonOf(code: string | undefined, error: unknown): string {
  const certificate =
    'add its authority under certs.d, or name the registry in "insecureRegistries" of the configuration';
  switch (code) {
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'ENOTFOUND':
      return 'no such host';
    case 'EAI_AGAIN':
      return 'its name cannot be resolved at the moment';
    case 'ETIMEDOUT':
      return 'connection timed out';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'no route to host';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'connection reset by the other side';
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return `its certificate is signed by an unknown authority: ${certificate}`;
    case 'CERT_HAS_EXPIRED':
      return 'its certificate has expired';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return 'its certificate is for another host';
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
      return `it does not speak HTTPS: for plain HTTP name the registry in "insecureRegistries" of the configuration`;
    default:
      return messageOf(error);
  }
}

/** The user's error for a network failure; anything else passes. */
export function unreachable(host: string, error: unknown): unknown {
  return error instanceof NetworkError
    ? isleError('registryUnreachable', { host, reason: error.reason }, error)
    : error;
}
