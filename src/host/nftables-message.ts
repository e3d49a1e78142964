import { be32, bytes, message, nested, text, type Attribute, type Message } from './netlink-message.ts';

/** nf_tables messages and the expressions of rules, as `nft` compiles them. Numbers are those of linux/netfilter/nf_tables.h. */

export const NFT = {
  newTable: 0,
  getTable: 1,
  delTable: 2,
  newChain: 3,
  newRule: 6,
  newElement: 12,
  delElement: 14,
};
export const FAMILY = { unspec: 0, inet: 1, ipv4: 2, netdev: 5 };

/** Messages as one transaction. */
export function batch(messages: Message[]): Message[] {
  const frame = (type: number): Message => message(type, 0, Buffer.from([FAMILY.unspec, 0, 0, 10]), []);
  return [frame(16), ...messages, frame(17)];
}

export function nfMessage(type: number, flags: number, family: number, attributes: Attribute[]): Message {
  return message((10 << 8) | type, flags, Buffer.from([family, 0, 0, 0]), attributes);
}

export function expression(name: string, data: Attribute[]): Attribute {
  return nested(1, [text(1, name), nested(2, data)]);
}

export type Header = 'link' | 'network' | 'transport';

/** `length` bytes (up to 16) of the packet at `offset` of the header equal, or do not equal, `value`. */
export function field(header: Header, offset: number, value: Buffer, equal = true): Attribute[] {
  const base = { link: 0, network: 1, transport: 2 }[header];
  return [
    expression('payload', [be32(1, 1), be32(2, base), be32(3, offset), be32(4, value.length)]),
    compare(value, equal),
  ];
}

/** The transport protocol, past the extension headers of IPv6. */
export function protocolIs(protocol: number): Attribute[] {
  const META_L4PROTO = 16;
  return [expression('meta', [be32(2, META_L4PROTO), be32(1, 1)]), compare(Buffer.from([protocol]))];
}

export function verdict(word: 'accept' | 'drop'): Attribute {
  const code = be32(1, word === 'accept' ? 1 : 0);
  return expression('immediate', [be32(1, 0), nested(2, [nested(2, [code])])]);
}

/** Puts `value` (up to 16 bytes) into a register, 1 or 2. */
export function load(register: 1 | 2, value: Buffer): Attribute {
  return expression('immediate', [be32(1, register), nested(2, [bytes(1, value)])]);
}

/** Sends the packet out by the link instead of taking it in. For chains of a link's ingress. */
export function forwardTo(link: string): Attribute[] {
  return [
    expression('immediate', [be32(1, 1), nested(2, [{ type: 1, value: { ifindexOf: link } }])]),
    expression('fwd', [be32(1, 1)]),
  ];
}

/** For the frame alone: what it is to the kernel's own stack, or a mark that later chains find. */
export function setMeta(key: 'mark' | 'packetType', value: Buffer): Attribute[] {
  return [load(1, value), expression('meta', [be32(2, META[key]), be32(3, 1)])];
}

export function markIs(value: Buffer): Attribute[] {
  return [expression('meta', [be32(2, META.mark), be32(1, 1)]), compare(value)];
}

const META = { mark: 3, packetType: 19 };

/** Register 1 equals `value`, or does not. */
function compare(value: Buffer, equal = true): Attribute {
  return expression('cmp', [be32(1, 1), be32(2, equal ? 0 : 1), nested(3, [bytes(1, value)])]);
}

export function be16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
