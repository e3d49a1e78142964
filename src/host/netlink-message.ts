/** Netlink messages as bytes: headers, attributes, and fields that only the kernel's thread can fill in. */

/** A field of a message that is filled in on the job's thread: see {@link NetworkJob}. */
export interface Patch {
  /** Bytes from the start of the body. */
  at: number;
  /** The descriptor of the job's inner namespace, or the index of the link of this name where the job is then. */
  value: 'innerFd' | { ifindexOf: string };
}

export interface Message {
  type: number;
  flags: number;
  body: Buffer;
  patches: Patch[];
}

export const NLM_F = {
  request: 1,
  ack: 4,
  dump: 0x300,
  replace: 0x100,
  excl: 0x200,
  create: 0x400,
  append: 0x800,
};

const NLA_F_NESTED = 0x8000;

/** Makes a message: the family's fixed header, then attributes. */
export function message(
  type: number,
  flags: number,
  header: Buffer,
  attributes: readonly Attribute[],
  patches: Patch[] = [],
): Message {
  const encoded = encodeAttributes(attributes, header.length);
  return {
    type,
    flags,
    body: Buffer.concat([header, encoded.bytes]),
    patches: [...patches, ...encoded.patches],
  };
}

/** Attribute payloads: bytes, nested attributes, or a patched 32-bit field. */
export interface Attribute {
  type: number;
  value: Buffer | readonly Attribute[] | Patch['value'];
  /** Fixed bytes before nested attributes (the peer of a veth has a whole link header there). */
  prefix?: Buffer;
}

export function bytes(type: number, value: Buffer): Attribute {
  return { type, value };
}

export function text(type: number, value: string): Attribute {
  return { type, value: Buffer.from(`${value}\0`) };
}

export function u8(type: number, value: number): Attribute {
  return { type, value: Buffer.from([value]) };
}

/** In the host's byte order, as rtnetlink has it. */
export function u32(type: number, value: number): Attribute {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(value >>> 0);
  return { type, value: data };
}

/** In network byte order, as nfnetlink has it. */
export function be32(type: number, value: number): Attribute {
  const data = Buffer.alloc(4);
  data.writeUInt32BE(value >>> 0);
  return { type, value: data };
}

export function nested(type: number, value: readonly Attribute[], prefix?: Buffer): Attribute {
  return prefix === undefined ? { type, value } : { type, value, prefix };
}

export function patched(type: number, value: Patch['value']): Attribute {
  return { type, value };
}

/** The whole of several messages, numbered from 1, with the patches' places in it. */
export function join(messages: readonly Message[]): { bytes: Buffer; patches: Patch[] } {
  const parts: Buffer[] = [];
  const patches: Patch[] = [];
  let at = 0;
  for (const [index, { type, flags, body, patches: own }] of messages.entries()) {
    const header = Buffer.alloc(16);
    header.writeUInt32LE(16 + body.length, 0);
    header.writeUInt16LE(type, 4);
    header.writeUInt16LE(flags | NLM_F.request, 6);
    header.writeUInt32LE(index + 1, 8);
    patches.push(...own.map((patch) => ({ ...patch, at: at + 16 + patch.at })));
    const padded = Buffer.concat([header, body], align(16 + body.length));
    parts.push(padded);
    at += padded.length;
  }
  return { bytes: Buffer.concat(parts), patches };
}

/** Messages in what the kernel answered. `sequence` counts the requests from 1. */
export function split(data: Buffer): { type: number; sequence: number; body: Buffer }[] {
  const messages: { type: number; sequence: number; body: Buffer }[] = [];
  for (let at = 0; at + 16 <= data.length; ) {
    const length = data.readUInt32LE(at);
    if (length < 16 || at + length > data.length) break;
    messages.push({
      type: data.readUInt16LE(at + 4),
      sequence: data.readUInt32LE(at + 8),
      body: data.subarray(at + 16, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** Attributes by type; of several of one type the last. */
export function attributes(data: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= data.length; ) {
    const length = data.readUInt16LE(at);
    if (length < 4 || at + length > data.length) break;
    found.set(data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + length));
    at += align(length);
  }
  return found;
}

/** Text of an attribute, without its closing NUL. */
export function readText(value: Buffer | undefined): string {
  if (value === undefined) return '';
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end < 0 ? value.length : end);
}

export function align(length: number): number {
  return (length + 3) & ~3;
}

function encodeAttributes(list: readonly Attribute[], base: number): { bytes: Buffer; patches: Patch[] } {
  const parts: Buffer[] = [];
  const patches: Patch[] = [];
  let at = base;
  for (const attribute of list) {
    const encoded = encodePayload(attribute, at + 4);
    const header = Buffer.alloc(4);
    header.writeUInt16LE(4 + encoded.bytes.length, 0);
    header.writeUInt16LE(attribute.type | (Array.isArray(attribute.value) ? NLA_F_NESTED : 0), 2);
    const padded = Buffer.concat([header, encoded.bytes], align(4 + encoded.bytes.length));
    parts.push(padded);
    patches.push(...encoded.patches);
    at += padded.length;
  }
  return { bytes: Buffer.concat(parts), patches };
}

function encodePayload({ value, prefix }: Attribute, at: number): { bytes: Buffer; patches: Patch[] } {
  if (Buffer.isBuffer(value)) return { bytes: value, patches: [] };
  if (value === 'innerFd' || 'ifindexOf' in value) {
    return { bytes: Buffer.alloc(4), patches: [{ at, value: value as Patch['value'] }] };
  }
  const before = prefix ?? Buffer.alloc(0);
  const inner = encodeAttributes(value as readonly Attribute[], at + before.length);
  return { bytes: Buffer.concat([before, inner.bytes]), patches: inner.patches };
}
