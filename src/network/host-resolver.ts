import { readFileSync, statSync } from 'node:fs';
import { canonical, isLoopback } from '../lib/address.ts';

/** A resolv.conf, as far as it matters here. */
export interface ResolverSettings {
  nameservers: string[];
  search: string[];
  options: string[];
}

export interface HostResolverSettings extends ResolverSettings {
  /** Servers a container can ask: none on a loopback address. */
  reachable: string[];
}

/**
 * What the host resolves with now. Where it asks its own systemd-resolved (127.0.0.53), the servers behind that are
 * in `reachable`; other loopback servers can be asked by the daemon only.
 */
export class HostResolver {
  readonly #paths: { own: string; upstream: string };
  #stamp = '';
  #settings: HostResolverSettings = { nameservers: [], search: [], options: [], reachable: [] };

  constructor(paths = { own: '/etc/resolv.conf', upstream: '/run/systemd/resolve/resolv.conf' }) {
    this.#paths = paths;
  }

  /** Synchronous: two small files, read again only when they have changed. */
  current(): HostResolverSettings {
    const stamp = Object.values(this.#paths).map(stampOf).join();
    if (stamp === this.#stamp) return this.#settings;
    this.#stamp = stamp;
    const own = parseResolvConf(read(this.#paths.own));
    const isStub = own.nameservers.length > 0 && own.nameservers.every((server) => isLoopback(server));
    const behind = isStub ? parseResolvConf(read(this.#paths.upstream)) : own;
    this.#settings = { ...own, reachable: behind.nameservers.filter((server) => !isLoopback(server)) };
    return this.#settings;
  }
}

/** Reads resolv.conf(5); unknown lines and servers that are no address are left out. */
export function parseResolvConf(text: string): ResolverSettings {
  const settings: ResolverSettings = { nameservers: [], search: [], options: [] };
  for (const line of text.slice(0, 64 * 1024).split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver') {
      const server = canonical(values[0] ?? '');
      if (server !== undefined) settings.nameservers.push(server);
    } else if (keyword === 'search' || keyword === 'domain') {
      settings.search = values;
    } else if (keyword === 'options') {
      settings.options.push(...values);
    }
  }
  return settings;
}

export function formatResolvConf({ nameservers, search, options }: ResolverSettings): string {
  const lines = nameservers.map((server) => `nameserver ${server}\n`);
  if (search.length > 0) lines.push(`search ${search.join(' ')}\n`);
  if (options.length > 0) lines.push(`options ${options.join(' ')}\n`);
  return lines.join('');
}

function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? '-' : `${stat.ino}.${stat.mtimeMs}.${stat.size}`;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // none: the host resolves nothing, and so do its containers
  }
}
