import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { defaultCertificateDirectories, type RegistryConfig } from './config.ts';
import { inCidr, isLoopback } from './proxy.ts';

/** One way to reach a repository's registry. */
export interface Endpoint {
  /** The host as a reference names it: `docker.io`, `localhost:5000`. */
  registry: string;
  /** Base URL; `v2/…` is resolved against it. */
  base: URL;
  mirror: boolean;
  /** HTTP and unvouched certificates are allowed. */
  insecure: boolean;
}

/** Certificates for one host. */
export interface HostTls {
  ca: string[];
  /** Client certificates with their keys. */
  certs: { cert: string; key: string }[];
}

/**
 * The endpoints of registry `domain`, best first: its mirrors (pulls only), HTTPS, and for insecure registries
 * HTTP. Insecure is only what the configuration names, and loopback, as with Docker.
 */
export function endpointsOf(domain: string, config: RegistryConfig, use: 'pull' | 'push'): Endpoint[] {
  const host = domain === 'docker.io' ? 'registry-1.docker.io' : domain;
  const insecure = isInsecure(domain, config);
  const own: Endpoint[] = [{ registry: domain, base: new URL(`https://${host}/`), mirror: false, insecure }];
  if (insecure) own.push({ registry: domain, base: new URL(`http://${host}/`), mirror: false, insecure });
  if (use === 'push') return own;
  const mirrors = (config.mirrors[domain] ?? []).map((text): Endpoint => {
    const base = mirrorUrl(text);
    return {
      registry: domain,
      base,
      mirror: true,
      insecure: base.protocol === 'http:' || isInsecure(base.host, config),
    };
  });
  return [...mirrors, ...own];
}

/** True when `host` (with or without a port) may be reached without a vouched certificate. */
export function isInsecure(host: string, config: RegistryConfig): boolean {
  const name = host.replace(/:\d+$/, '');
  const bare = name.replace(/^\[|\]$/g, '');
  return (
    isLoopback(bare) ||
    config.insecureRegistries.some((entry) =>
      entry.includes('/')
        ? inCidr(bare, entry)
        : entry.toLowerCase() === host.toLowerCase() || entry.toLowerCase() === name.toLowerCase(),
    )
  );
}

/** What the configuration and `certs.d` hold for `host`. Throws `invalidParameter` for a file that cannot be read. */
export async function tlsOf(host: string, config: RegistryConfig): Promise<HostTls> {
  const tls: HostTls = { ca: [], certs: [] };
  const authority =
    config.certificateAuthorities[host] ?? config.certificateAuthorities[host.replace(/:\d+$/, '')];
  if (authority) tls.ca.push(await readPem(authority));
  for (const root of config.certificateDirectories ?? defaultCertificateDirectories) {
    const dir = join(root, host);
    for (const name of await list(dir)) {
      if (name.endsWith('.crt')) tls.ca.push(await readPem(join(dir, name)));
      if (!name.endsWith('.cert')) continue;
      const key = join(dir, `${name.slice(0, -'.cert'.length)}.key`);
      tls.certs.push({ cert: await readPem(join(dir, name)), key: await readPem(key) });
    }
  }
  return tls;
}

function mirrorUrl(text: string): URL {
  const url = URL.parse(text.endsWith('/') ? text : `${text}/`);
  if (url && (url.protocol === 'https:' || url.protocol === 'http:')) return url;
  throw isleError('invalidParameter', { message: `registry mirror "${text}" is not an http(s) URL` });
}

async function list(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw isleError(
      'invalidParameter',
      { message: `cannot read the certificate file ${path}: ${errnoOf(error)}` },
      error,
    );
  }
}
