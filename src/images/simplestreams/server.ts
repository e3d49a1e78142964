import { isleError } from '../../lib/errors.ts';
import { didYouMean } from '../../lib/suggest.ts';
import { UnexpectedAnswer, answerError } from '../registry/answers.ts';
import { type BlobServer, blobStream } from '../registry/blob-stream.ts';
import { discard, readBody } from '../registry/body.ts';
import { unreachable, type Connections } from '../registry/connections.ts';
import type { RegistryConfig } from '../registry/config.ts';
import { isInsecure } from '../registry/endpoints.ts';
import { withRetries } from '../registry/retry.ts';
import { RegistrySession } from '../registry/session.ts';
import { type Item, parseProducts, type Product, productLists } from './catalogue.ts';

/** Bytes of an index, and of all lists of products: the largest public one has a few million. */
const indexBytes = 1 << 20;
const productsBytes = 12 << 20;
const tries = 4;

/** A server of LXD's and Incus' images, reached as a registry is: same proxies, authorities, time-outs and redirects. */
export class StreamsServer {
  readonly host: string;
  readonly #base: URL;
  readonly #connections: Connections;
  readonly #session: RegistrySession;

  /** `server`: the name of a configured remote, or a base URL. Throws `invalidParameter`. */
  constructor(connections: Connections, server: string) {
    const base = baseOf(server, connections.config);
    const insecure = isInsecure(base.host, connections.config);
    if (base.protocol === 'http:' && !insecure)
      throw isleError('invalidParameter', {
        message: `${base.origin} is plain HTTP, where anybody on the way can change an image: use https, or name ${base.host} in "insecureRegistries" of the configuration`,
      });
    this.host = base.host;
    this.#base = base;
    this.#connections = connections;
    this.#session = new RegistrySession(
      connections,
      { registry: base.host, base, mirror: false, insecure },
      undefined,
    );
  }

  /** Everything it offers. Throws `registryUnreachable`, `registryAnswer`, …. */
  async products(signal?: AbortSignal): Promise<Product[]> {
    const index = await this.#json('streams/v1/index.json', indexBytes, signal);
    const products: Product[] = [];
    let room = productsBytes;
    for (const path of productLists(index.document, this.host)) {
      const { document, bytes } = await this.#json(path, room, signal);
      room -= bytes;
      products.push(...parseProducts(document, this.host, products.length));
    }
    return products;
  }

  /** Where the blob that `item` is comes from. */
  blobs(item: Item): BlobServer {
    const url = this.#resolve(item.path);
    const open: BlobServer['blob'] = async (blob, offset, options) => {
      const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
      if (offset > 0 && options.etag && !options.etag.startsWith('W/')) range['if-range'] = options.etag;
      const { response, url: from } = await this.#session.request({
        method: 'GET',
        path: url,
        headers: { ...range, 'accept-encoding': 'identity' },
        scopes: [],
        expect: offset > 0 ? [200, 206, 416] : [200],
        signal: options.signal,
      });
      if (response.statusCode === 416) {
        discard(response);
        return open(blob, 0, { signal: options.signal });
      }
      const { timeouts } = this.#connections;
      return blobStream(response, { host: from.host, server: this.host, blob, offset, timeouts });
    };
    return { ref: { domain: this.host }, blob: open };
  }

  /** The user's error for what a request failed with. */
  explain(error: unknown): unknown {
    if (error instanceof UnexpectedAnswer) return answerError(this.host, error);
    return unreachable(this.host, error);
  }

  async #json(
    path: string,
    limit: number,
    signal: AbortSignal | undefined,
  ): Promise<{ document: unknown; bytes: number }> {
    const { timeouts } = this.#connections;
    const url = this.#resolve(path);
    try {
      const body = await withRetries({ timeouts, tries, signal }, async () => {
        const headers = { accept: 'application/json', 'accept-encoding': 'identity' };
        const { response, url: from } = await this.#session.request({
          method: 'GET',
          path: url,
          headers,
          scopes: [],
          expect: [200],
          signal,
        });
        return await readBody(response, from.host, limit, timeouts);
      });
      if (body === undefined) throw this.#wrong(`more than ${limit} bytes for ${path}`);
      return {
        document: parseJson(body, () => this.#wrong(`${path}, which is not JSON`)),
        bytes: body.length,
      };
    } catch (error) {
      throw this.explain(error);
    }
  }

  /** What a server names lies on that server. */
  #resolve(path: string): URL {
    const url = path.length <= 2048 ? URL.parse(path, this.#base) : null;
    if (!url || url.origin !== this.#base.origin) throw this.#wrong('a path that leads elsewhere');
    url.username = url.password = '';
    return url;
  }

  #wrong(what: string): Error {
    return isleError('registryAnswer', { host: this.host, what: `with ${what}` });
  }
}

function baseOf(server: string, { remotes = {} }: RegistryConfig): URL {
  const name = server.replace(/:$/, '');
  const text = Object.hasOwn(remotes, name) ? remotes[name]! : server;
  const url = /^https?:\/\//.test(text) ? URL.parse(text.endsWith('/') ? text : `${text}/`) : null;
  if (url && url.search === '' && url.hash === '') return url;
  const shown = JSON.stringify(server.slice(0, 200)).slice(1, -1);
  throw isleError('invalidParameter', {
    message: `"${shown}" is neither the URL of an image server nor one of images.remotes in the configuration (${Object.keys(remotes).join(', ') || 'none'})${didYouMean(name, Object.keys(remotes))}`,
  });
}

function parseJson(body: Buffer, wrong: () => Error): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw wrong();
  }
}
