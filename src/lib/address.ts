import { isIPv4, isIPv6 } from 'node:net';

/** IP addresses as bytes (4 or 16) and as numbers for arithmetic. */

export type Family = 'ipv4' | 'ipv6';

export interface Subnet {
  family: Family;
  /** The network's own address and its last one. */
  first: bigint;
  last: bigint;
  prefixLength: number;
  /** Canonical text. */
  cidr: string;
}

/** 4 or 16 bytes, or undefined when `text` is no address. Zones (`fe80::1%eth0`) are none. */
export function parseAddress(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text) || text.includes('%')) return undefined;
  return parseIpv6(text);
}

/** Canonical text (RFC 5952). */
export function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
  const [start, length] = longestZeroRun(groups);
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/** Canonical text of an address, or undefined. */
export function canonical(text: string): string | undefined {
  const bytes = parseAddress(text);
  return bytes === undefined ? undefined : formatAddress(bytes);
}

/** A subnet in CIDR notation; bits beyond the prefix are cleared. Undefined when `text` is none. */
export function parseSubnet(text: string): Subnet | undefined {
  const slash = text.indexOf('/');
  const length = text.slice(slash + 1);
  const bytes = slash < 0 ? undefined : parseAddress(text.slice(0, slash));
  if (bytes === undefined || !/^\d{1,3}$/.test(length)) return undefined;
  const prefixLength = Number(length);
  if (prefixLength > bytes.length * 8) return undefined;
  return subnetOf(bytes, prefixLength);
}

export function subnetOf(address: Buffer, prefixLength: number): Subnet {
  const bits = address.length * 8;
  const hosts = (1n << BigInt(bits - prefixLength)) - 1n;
  const first = toNumber(address) & ~hosts;
  const family = bits === 32 ? 'ipv4' : 'ipv6';
  const cidr = `${formatAddress(toBytes(first, family))}/${prefixLength}`;
  return { family, first, last: first | hosts, prefixLength, cidr };
}

export function toNumber(address: Buffer): bigint {
  return BigInt(`0x${address.toString('hex')}`);
}

export function toBytes(value: bigint, family: Family): Buffer {
  return Buffer.from(value.toString(16).padStart(family === 'ipv4' ? 8 : 32, '0'), 'hex');
}

export function familyOf(address: string): Family {
  return address.includes(':') ? 'ipv6' : 'ipv4';
}

export function overlaps(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

export function contains(subnet: Subnet, address: Buffer): boolean {
  const value = toNumber(address);
  return (
    address.length === (subnet.family === 'ipv4' ? 4 : 16) && value >= subnet.first && value <= subnet.last
  );
}

export function isLoopback(address: string): boolean {
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

function parseIpv6(text: string): Buffer {
  let rest = text;
  const dotted = /\d+\.\d+\.\d+\.\d+$/.exec(rest);
  if (dotted) {
    const [a, b, c, d] = dotted[0].split('.').map(Number) as [number, number, number, number];
    rest = `${rest.slice(0, dotted.index)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = '', tail] = rest.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  const out = Buffer.alloc(16);
  for (const [index, group] of groups.entries()) out.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  return out;
}

function longestZeroRun(groups: number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > best[1]) best = [start, end - start];
  }
  return best;
}
