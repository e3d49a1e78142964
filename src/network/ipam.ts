import { randomBytes } from 'node:crypto';
import { isleError } from '../lib/errors.ts';
import {
  contains,
  formatAddress,
  overlaps,
  parseAddress,
  parseSubnet,
  toBytes,
  toNumber,
  type Family,
  type Subnet,
} from '../lib/address.ts';
import type { IpamPool } from './network.ts';

/** Where subnets nobody chose come from: `base` cut into pieces of prefix length `size`. */
export interface AddressPool {
  base: string;
  size: number;
}

export const defaultAddressPools: readonly AddressPool[] = [
  ...Array.from({ length: 15 }, (_, index) => ({ base: `172.${17 + index}.0.0/16`, size: 16 })),
  { base: '192.168.0.0/16', size: 20 },
];

/** A pool as the user wrote it, checked: every address lies where it has to. */
export interface Pool {
  subnet: Subnet;
  /** Where addresses are given from. */
  range: Subnet;
  gateway: string;
  /** Canonical addresses that belong to something else. */
  reserved: string[];
}

/** Throws `invalidParameter` naming the value that does not fit. */
export function parsePool(config: IpamPool): Pool {
  const subnet =
    parseSubnet(config.subnet) ?? refuse(`invalid subnet "${config.subnet}": write it like 10.1.0.0/24`);
  const longest = subnet.family === 'ipv4' ? 30 : 126;
  if (subnet.prefixLength > longest)
    refuse(`subnet ${subnet.cidr} is too small: the longest prefix is /${longest}`);
  if (subnet.prefixLength < 8) refuse(`subnet ${subnet.cidr} is too large: the shortest prefix is /8`);
  if (isReserved(subnet))
    refuse(`subnet ${subnet.cidr} lies in a range for loopback, multicast or link-local use`);
  const range =
    config.ipRange === undefined || config.ipRange === '' ? subnet : parseRange(config.ipRange, subnet);
  const inside = (text: string, what: string): string => {
    const address = parseAddress(text);
    if (address === undefined || !contains(subnet, address))
      refuse(`${what} ${text} is not in subnet ${subnet.cidr}`);
    return formatAddress(address!);
  };
  const gateway = inside(
    config.gateway || formatAddress(toBytes(subnet.first + 1n, subnet.family)),
    'gateway',
  );
  const auxiliary = Object.values(config.auxiliaryAddresses ?? {}).map((text) =>
    inside(text, 'auxiliary address'),
  );
  return { subnet, range, gateway, reserved: [gateway, ...auxiliary] };
}

/**
 * A free piece of the pools that none of `taken` overlaps. Throws `conflict` when there is none. `skip` leaves out
 * that many first: for another try after somebody else took the same piece in the meantime.
 */
export function chooseSubnet(pools: readonly AddressPool[], taken: readonly Subnet[], skip = 0): Subnet {
  for (const { base, size } of pools) {
    const whole = parseSubnet(base);
    if (whole === undefined || whole.family !== 'ipv4') continue;
    const step = 1n << BigInt(32 - size);
    for (let first = whole.first; first + step - 1n <= whole.last; first += step) {
      const piece = parseSubnet(`${formatAddress(toBytes(first, 'ipv4'))}/${size}`)!;
      if (!taken.some((other) => overlaps(piece, other)) && skip-- <= 0) return piece;
    }
  }
  throw isleError('conflict', {
    message:
      'all predefined address pools are in use: give a subnet, remove networks, or configure more pools',
  });
}

/** A fresh unique-local /64 (RFC 4193). */
export function chooseUniqueLocalSubnet(): Subnet {
  return parseSubnet(
    `${formatAddress(Buffer.concat([Buffer.from([0xfd]), randomBytes(7), Buffer.alloc(8)]))}/64`,
  )!;
}

/** The addresses of one subnet that are in use. Addresses go round, so that one just freed rests longest. */
export class Addresses {
  readonly #pool: Pool;
  readonly #used = new Set<string>();
  #next: bigint;

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#next = pool.range.first;
    for (const address of pool.reserved) this.#used.add(address);
  }

  get family(): Family {
    return this.#pool.subnet.family;
  }

  get prefixLength(): number {
    return this.#pool.subnet.prefixLength;
  }

  get gateway(): string {
    return this.#pool.gateway;
  }

  /** Throws `conflict` when the range is used up. */
  allocate(): string {
    const { first, last } = this.#pool.range;
    const size = last - first + 1n;
    // At most one more than the used ones need looking at: so many different addresses cannot all be used.
    const tries = BigInt(this.#used.size) + 3n;
    for (let tried = 0n; tried < tries && tried < size; tried++) {
      const value = this.#next;
      this.#next = value >= last ? first : value + 1n;
      if (!this.#isHost(value)) continue;
      const address = formatAddress(toBytes(value, this.family));
      if (this.#used.has(address)) continue;
      this.#used.add(address);
      return address;
    }
    throw isleError('conflict', {
      message: `no available addresses in subnet ${this.#pool.range.cidr}: remove containers from the network`,
    });
  }

  contains(address: Buffer): boolean {
    return contains(this.#pool.subnet, address);
  }

  /** Takes this very address. Throws `conflict` when it is in use, `invalidParameter` when it is not a host's. */
  take(address: string): void {
    if (!this.#isHost(toNumber(parseAddress(address)!)))
      refuse(`address ${address} is the network's own or its broadcast address`);
    if (this.#used.has(address))
      throw isleError('conflict', { message: `Address already in use: ${address}` });
    this.#used.add(address);
  }

  /** Takes an address that is in use by record. */
  claim(address: string): void {
    this.#used.add(address);
  }

  release(address: string): void {
    if (!this.#pool.reserved.includes(address)) this.#used.delete(address);
  }

  #isHost(value: bigint): boolean {
    const { first, last } = this.#pool.subnet;
    return value !== first && (this.family === 'ipv6' || value !== last);
  }
}

function parseRange(text: string, subnet: Subnet): Subnet {
  const range = parseSubnet(text) ?? refuse(`invalid IP range "${text}": write it like 10.1.0.128/25`);
  const inside = range.family === subnet.family && range.first >= subnet.first && range.last <= subnet.last;
  return inside ? range : refuse(`IP range ${text} is not in subnet ${subnet.cidr}`);
}

const reservedRanges = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/8',
  'fe80::/10',
  'ff00::/8',
];

function isReserved(subnet: Subnet): boolean {
  return reservedRanges.some((range) => overlaps(parseSubnet(range)!, subnet));
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}
