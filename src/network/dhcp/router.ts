import { encodeNames } from './domain-names.ts';
import { be16, be32, formatIcmp6, multicastMac, type Icmp6Packet } from './frames.ts';
import type { GuestLease } from './lease.ts';

/**
 * The frame that answers a router solicitation, or tells without being asked: the network's router, and that addresses are
 * given by DHCPv6. A guest must not make one up (RFC 4862) that the network then does not take from it, so the prefix is
 * said to be on the link and no more. Undefined where there is no IPv6.
 */
export function advertise(lease: GuestLease, solicitation?: Icmp6Packet): Buffer | undefined {
  const own = lease.ipv6;
  if (own === undefined) return undefined;
  if (solicitation !== undefined && solicitation.type !== ICMP6.solicitation) return undefined;
  const router = own.router ?? { address: linkLocal(lease.serverMac), macAddress: lease.serverMac };
  const leadsOut = own.leadsOut && own.router !== undefined;
  const body = Buffer.concat([
    Buffer.from([64, MANAGED | OTHER]),
    be16(leadsOut ? ROUTER_LIFETIME : 0),
    be32(0),
    be32(0),
    sourceOption(router.macAddress),
    mtuOption(lease.mtu),
    prefixOption(own.address, own.prefixLength),
    ...(own.resolvers.length > 0 ? [resolversOption(own.resolvers)] : []),
    ...searchOption(lease.search),
  ]);
  // To the one station there is, but as to all: one that asks before it has an address says not who it is.
  return formatIcmp6({
    fromMac: lease.serverMac,
    toMac: multicastMac(allNodes),
    from: router.address,
    to: allNodes,
    type: ICMP6.advertisement,
    body,
  });
}

/** The address that a station makes of its Ethernet address (RFC 4291, appendix A). */
export function linkLocal(mac: Buffer): Buffer {
  const start = Buffer.from('fe80000000000000', 'hex');
  const address = Buffer.concat([start, mac.subarray(0, 3), Buffer.from([0xff, 0xfe]), mac.subarray(3)]);
  address[8]! ^= 2;
  return address;
}

const ICMP6 = { solicitation: 133, advertisement: 134 };
const MANAGED = 0x80;
const OTHER = 0x40;
/** Seconds; the most there is (RFC 8319): the guest keeps its router though the daemon is away for hours. */
const ROUTER_LIFETIME = 65_535;
const FOR_EVER = 0xffffffff;
const allNodes = Buffer.from('ff020000000000000000000000000001', 'hex');

function sourceOption(mac: Buffer): Buffer {
  return Buffer.concat([Buffer.from([1, 1]), mac]);
}

function mtuOption(mtu: number): Buffer {
  return Buffer.concat([Buffer.from([5, 1, 0, 0]), be32(mtu)]);
}

function prefixOption(address: Buffer, length: number): Buffer {
  const ON_LINK = 0x80;
  const prefix = Buffer.from(address.map((byte, index) => byte & maskByte(length - index * 8)));
  return Buffer.concat([
    Buffer.from([3, 4, length, ON_LINK]),
    be32(FOR_EVER),
    be32(FOR_EVER),
    be32(0),
    prefix,
  ]);
}

function maskByte(bits: number): number {
  return bits >= 8 ? 0xff : bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff;
}

/** RFC 8106 */
function resolversOption(resolvers: readonly Buffer[]): Buffer {
  const head = Buffer.from([25, 1 + 2 * resolvers.length, 0, 0]);
  return Buffer.concat([head, be32(FOR_EVER), ...resolvers]);
}

function searchOption(search: readonly string[]): Buffer[] {
  const names = encodeNames(search);
  const length = Math.ceil((8 + names.length) / 8);
  // More than the packet should hold is left to DHCPv6.
  if (names.length === 0 || length > 64) return [];
  return [Buffer.concat([Buffer.from([31, length, 0, 0]), be32(FOR_EVER), names], length * 8)];
}
