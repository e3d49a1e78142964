/** Ethernet, IP and UDP, as much as guests need to ask for their configuration. */

export interface UdpPacket {
  /** Stations, 6 bytes. */
  fromMac: Buffer;
  toMac: Buffer;
  /** Of 4 or 16 bytes. */
  from: Buffer;
  to: Buffer;
  fromPort: number;
  toPort: number;
  data: Buffer;
}

export interface Icmp6Packet {
  fromMac: Buffer;
  toMac: Buffer;
  from: Buffer;
  to: Buffer;
  type: number;
  /** What follows type, code and checksum. */
  body: Buffer;
}

export type GuestPacket = ({ kind: 'udp' } & UdpPacket) | ({ kind: 'icmp6' } & Icmp6Packet);

/**
 * Undefined for anything else than a whole packet of these kinds. Checksums are not looked at: a guest's card leaves them to
 * hardware that is not there.
 */
export function parseFrame(frame: Buffer): GuestPacket | undefined {
  if (frame.length < 14) return undefined;
  const type = frame.readUInt16BE(12);
  const stations = { toMac: frame.subarray(0, 6), fromMac: frame.subarray(6, 12) };
  const packet = frame.subarray(14);
  if (type === ETHER.ipv4) return parseIpv4(packet, stations);
  if (type === ETHER.ipv6) return parseIpv6(packet, stations);
  return undefined;
}

export function formatUdp({ fromMac, toMac, from, to, fromPort, toPort, data }: UdpPacket): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(fromPort, 0);
  head.writeUInt16BE(toPort, 2);
  head.writeUInt16BE(8 + data.length, 4);
  const body = withChecksum({ from, to, protocol: PROTOCOL.udp }, Buffer.concat([head, data]), 6);
  return formatIp({ fromMac, toMac, from, to, protocol: PROTOCOL.udp, hops: 64 }, body);
}

export function formatIcmp6({ fromMac, toMac, from, to, type, body }: Icmp6Packet): Buffer {
  const whole = Buffer.concat([Buffer.from([type, 0, 0, 0]), body]);
  const message = withChecksum({ from, to, protocol: PROTOCOL.icmp6 }, whole, 2);
  // What came from another network would have fewer hops left, and is not believed (RFC 4861).
  return formatIp({ fromMac, toMac, from, to, protocol: PROTOCOL.icmp6, hops: 255 }, message);
}

/** The station of a group (RFC 2464). */
export function multicastMac(group: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x33, 0x33]), group.subarray(12)]);
}

const ETHER = { ipv4: 0x0800, ipv6: 0x86dd };
const PROTOCOL = { udp: 17, icmp6: 58 };

type Stations = { fromMac: Buffer; toMac: Buffer };

function parseIpv4(packet: Buffer, stations: Stations): GuestPacket | undefined {
  if (packet.length < 20 || packet[0]! >> 4 !== 4 || packet[9] !== PROTOCOL.udp) return undefined;
  const start = (packet[0]! & 15) * 4;
  const end = packet.readUInt16BE(2);
  const isFragment = (packet.readUInt16BE(6) & 0x3fff) !== 0;
  if (start < 20 || end > packet.length || end < start + 8 || isFragment) return undefined;
  const addresses = { from: packet.subarray(12, 16), to: packet.subarray(16, 20) };
  return parseUdp(packet.subarray(start, end), { ...stations, ...addresses });
}

function parseIpv6(packet: Buffer, stations: Stations): GuestPacket | undefined {
  if (packet.length < 48 || packet[0]! >> 4 !== 6) return undefined;
  const end = 40 + packet.readUInt16BE(4);
  if (end > packet.length || end < 48) return undefined;
  const parties = { ...stations, from: packet.subarray(8, 24), to: packet.subarray(24, 40) };
  const payload = packet.subarray(40, end);
  if (packet[6] === PROTOCOL.udp) return parseUdp(payload, parties);
  if (packet[6] === PROTOCOL.icmp6)
    return { kind: 'icmp6', ...parties, type: payload[0]!, body: payload.subarray(4) };
  return undefined;
}

function parseUdp(
  payload: Buffer,
  parties: Omit<UdpPacket, 'fromPort' | 'toPort' | 'data'>,
): GuestPacket | undefined {
  const length = payload.readUInt16BE(4);
  if (length < 8 || length > payload.length) return undefined;
  return {
    kind: 'udp',
    ...parties,
    fromPort: payload.readUInt16BE(0),
    toPort: payload.readUInt16BE(2),
    data: payload.subarray(8, length),
  };
}

interface IpHeader extends Stations {
  from: Buffer;
  to: Buffer;
  protocol: number;
  hops: number;
}

function formatIp({ fromMac, toMac, from, to, protocol, hops }: IpHeader, payload: Buffer): Buffer {
  if (from.length === 16) {
    const head = Buffer.alloc(8);
    head[0] = 0x60;
    head.writeUInt16BE(payload.length, 4);
    head[6] = protocol;
    head[7] = hops;
    return Buffer.concat([toMac, fromMac, be16(ETHER.ipv6), head, from, to, payload]);
  }
  const head = Buffer.alloc(12);
  head[0] = 0x45;
  head.writeUInt16BE(20 + payload.length, 2);
  head[8] = hops;
  head[9] = protocol;
  const whole = Buffer.concat([head, from, to]);
  whole.writeUInt16BE(checksum([whole]), 10);
  return Buffer.concat([toMac, fromMac, be16(ETHER.ipv4), whole, payload]);
}

/** With the sum at `at`, which is over the addresses, too. */
function withChecksum(
  { from, to, protocol }: Pick<IpHeader, 'from' | 'to' | 'protocol'>,
  payload: Buffer,
  at: number,
): Buffer {
  const sum = checksum([from, to, be16(payload.length), be16(protocol), payload]);
  // To UDP zero means that there is none.
  payload.writeUInt16BE(sum === 0 && protocol === PROTOCOL.udp ? 0xffff : sum, at);
  return payload;
}

/** Of pieces of even length, but for the last. */
function checksum(pieces: readonly Buffer[]): number {
  const data = Buffer.concat(pieces);
  let sum = 0;
  for (let at = 0; at < data.length; at += 2) sum += (data[at]! << 8) | (data[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function be16(value: number): Buffer {
  return Buffer.from([(value >> 8) & 255, value & 255]);
}

export function be32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
}
