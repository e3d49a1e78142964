import { isleError } from '../../lib/errors.ts';
import { didYouMean } from '../../lib/suggest.ts';
import { platformOf } from '../distribution/architecture.ts';
import { choosePlatform, formatPlatform, type Platform } from '../platform.ts';

/** One distribution's release for one architecture, as a simplestreams server offers it. */
export interface Product {
  id: string;
  /** `debian/12`, `debian/bookworm/cloud`, … in lower case. */
  aliases: string[];
  os: string;
  release: string;
  variant: string;
  platform: Platform;
  /** Newest first. */
  versions: Version[];
}

export interface Version {
  name: string;
  items: Item[];
}

export interface Item {
  /** What it is: `root.tar.xz`, `squashfs`, `incus.tar.xz`, … */
  kind: string;
  /** Relative to the server's base. */
  path: string;
  size: number;
  /** 64 hexadecimal digits. */
  sha256: string;
}

/** What makes an image: the root, and what tells of it, which may be in one file. */
export interface Offer {
  version: string;
  root: Item;
  metadata?: Item;
}

/** The largest public server has a thousand, with a few aliases each: all of it is gone through on the main thread. */
const mostProducts = 5000;
const mostAliases = 20;
/** Names that are compared with one that is not there. */
const mostHints = 2000;
const mostItems = 400;
/** Bytes: more is no image of a container. */
const largestItem = 64 * 2 ** 30;

/** Paths of the lists of products that an index names. Throws `registryAnswer`. */
export function productLists(document: unknown, host: string): string[] {
  const { index } = mapOf(document, host, 'an index');
  const paths = Object.values(mapOf(index, host, 'an index')).flatMap((value) => {
    const { datatype, path } = mapOf(value, host, 'an entry of its index');
    return datatype === 'image-downloads' && typeof path === 'string' ? [path] : [];
  });
  return paths.slice(0, 20);
}

/**
 * The products of a list that can be an image here; what is malformed is left out. `before`: how many the server's other
 * lists have. Throws `registryAnswer`.
 */
export function parseProducts(document: unknown, host: string, before = 0): Product[] {
  const { products } = mapOf(document, host, 'a list of products');
  const entries = Object.entries(mapOf(products, host, 'a list of products'));
  if (before + entries.length > mostProducts) throw wrong(host, `more than ${mostProducts} products`);
  return entries.flatMap(([id, value]) => productOf(id, value));
}

function productOf(id: string, value: unknown): Product[] {
  if (!isMap(value) || !isMap(value.versions)) return [];
  const platform = platformIn(value.arch);
  if (!platform) return [];
  const aliases = textIn(value.aliases)
    .toLowerCase()
    .split(',', mostAliases)
    .map((alias) => alias.trim())
    .filter((alias) => /^[a-z0-9][a-z0-9._+/-]{0,127}$/.test(alias));
  const versions = Object.entries(value.versions)
    .slice(-100)
    .map(([name, version]) => ({ name: plain(name), items: itemsOf(version) }))
    .sort((a, b) => (a.name < b.name ? 1 : -1));
  return [
    {
      id: plain(id),
      aliases,
      os: textIn(value.os),
      release: textIn(value.release),
      variant: textIn(value.variant) || 'default',
      platform,
      versions,
    },
  ];
}

function itemsOf(version: unknown): Item[] {
  if (!isMap(version) || !isMap(version.items)) return [];
  return Object.values(version.items)
    .slice(0, mostItems)
    .flatMap((item) => {
      if (!isMap(item)) return [];
      const { ftype, path, size, sha256 } = item;
      const fits =
        typeof ftype === 'string' &&
        typeof path === 'string' &&
        typeof size === 'number' &&
        Number.isSafeInteger(size) &&
        size > 0 &&
        size <= largestItem &&
        typeof sha256 === 'string' &&
        /^[0-9a-f]{64}$/i.test(sha256);
      return fits ? [{ kind: ftype, path, size, sha256: sha256.toLowerCase() }] : [];
    });
}

/** Throws `noSuchRemoteImage`, `noMatchingPlatform`. */
export function findProduct(products: Product[], name: string, platform: Platform, host: string): Product {
  const wanted = name.toLowerCase();
  const named = products.filter((product) => namesOf(product).includes(wanted));
  const found = choosePlatform(named, platform);
  if (found) return found;
  if (named.length === 0) {
    const hint = didYouMean(
      wanted,
      [...new Set(products.flatMap(({ aliases }) => aliases))].slice(0, mostHints),
    );
    throw isleError('noSuchRemoteImage', { host, name: plain(name), hint });
  }
  const available = [...new Set(named.map((product) => formatPlatform(product.platform)))].join(', ');
  throw isleError('noMatchingPlatform', { wanted: formatPlatform(platform), ref: plain(name), available });
}

function namesOf({ id, aliases, os, release, variant }: Product): string[] {
  const own = `${os}/${release}`.toLowerCase();
  return [
    id.toLowerCase(),
    ...aliases,
    `${own}/${variant.toLowerCase()}`,
    ...(variant === 'default' ? [own] : []),
  ];
}

const roots = ['root.tar.xz', 'root.tar.zst', 'root.tar.gz', 'squashfs'];
const combined = ['incus_combined.tar.gz', 'lxd_combined.tar.gz'];
const metadata = ['incus.tar.xz', 'lxd.tar.xz'];

/** The newest version that has what a container needs. Throws `noSuchRemoteImage`. */
export function newestOffer({ versions, id }: Product, host: string): Offer {
  for (const { name, items } of versions) {
    const first = (kinds: string[]): Item | undefined =>
      kinds.flatMap((kind) => items.find((item) => item.kind === kind) ?? [])[0];
    const root = first(roots);
    const tells = first(metadata);
    if (root && tells) return { version: name, root, metadata: tells };
    const whole = first(combined);
    if (whole) return { version: name, root: whole };
  }
  throw isleError('noSuchRemoteImage', {
    host,
    name: id,
    hint: ' for containers: only for virtual machines',
  });
}

function platformIn(architecture: unknown): Platform | undefined {
  try {
    return typeof architecture === 'string' ? platformOf(architecture) : undefined;
  } catch {
    return undefined;
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mapOf(value: unknown, host: string, what: string): Record<string, unknown> {
  if (isMap(value)) return value;
  throw wrong(host, `${what} that cannot be read`);
}

function textIn(value: unknown): string {
  return typeof value === 'string' ? plain(value) : '';
}

/** What a server says is shown to people: no control characters, and not for ever. */
function plain(text: string): string {
  return text.replace(/\p{C}+/gu, ' ').slice(0, 500);
}

function wrong(host: string, what: string): Error {
  return isleError('registryAnswer', { host, what: `with ${what}` });
}
