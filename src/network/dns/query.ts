import { decode, encode, type Answer, type DecodedPacket, type Packet } from 'dns-packet';
import { formatAddress } from '../address.ts';

export const RCODE = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
} as const;

const FLAG = { response: 0x8000, truncated: 0x0200, recursionDesired: 0x0100, recursionAvailable: 0x0080 };

/** A question a client may ask: exactly one, of the internet class. */
export interface Query {
  id: number;
  flags: number;
  name: string;
  type: string;
  /** Bytes of an answer the client takes by UDP. */
  size: number;
  /** As it came: what is forwarded. */
  raw: Buffer;
}

/** Seconds a name may be remembered: containers come and go. */
const TTL = 5;

/** What a packet asks; a ready answer when it asks something else; undefined when it deserves none. */
export function parseQuery(raw: Buffer): Query | Buffer | undefined {
  if (raw.length < 12 || raw.length > 4096) return undefined;
  const id = raw.readUInt16BE(0);
  const flags = raw.readUInt16BE(2);
  // An answer is never answered, so that two servers cannot keep each other busy.
  if ((flags & FLAG.response) !== 0) return undefined;
  const refusal = (code: number): Buffer => headerOnly(id, flags, code);
  if (((flags >> 11) & 0xf) !== 0) return refusal(RCODE.notImplemented);
  // Counts are checked before anything is read: a header may promise 65,535 records.
  if (
    raw.readUInt16BE(4) !== 1 ||
    raw.readUInt16BE(6) !== 0 ||
    raw.readUInt16BE(8) !== 0 ||
    raw.readUInt16BE(10) > 2
  )
    return refusal(RCODE.formatError);
  let packet: DecodedPacket;
  try {
    packet = decode(raw);
  } catch {
    return refusal(RCODE.formatError);
  }
  const question = packet.questions?.[0];
  if (question === undefined) return refusal(RCODE.formatError);
  if (question.class !== undefined && question.class !== 'IN') return refusal(RCODE.notImplemented);
  const edns = packet.additionals?.find((record) => record.type === 'OPT');
  const size = edns && 'udpPayloadSize' in edns ? Number(edns.udpPayloadSize) : 512;
  return {
    id,
    flags,
    name: question.name,
    type: question.type,
    size: Math.min(Math.max(size, 512), 4096),
    raw,
  };
}

/** An answer with these addresses or names, cut to `limit` bytes. */
export function answer(
  query: Query,
  rcode: number,
  records: readonly { type: 'A' | 'AAAA' | 'PTR'; data: string }[],
  limit: number,
): Buffer {
  const packet: Packet = {
    type: 'response',
    id: query.id,
    flags: (query.flags & FLAG.recursionDesired) | FLAG.recursionAvailable | rcode,
    questions: [
      { type: query.type, name: query.name, class: 'IN' } as NonNullable<Packet['questions']>[number],
    ],
    answers: records.map((record): Answer => ({ ...record, name: query.name, ttl: TTL, class: 'IN' })),
  };
  for (;;) {
    const data = encode(packet);
    if (data.length <= limit || !packet.answers?.length) return data;
    packet.answers = packet.answers.slice(0, -1);
    packet.flags = (packet.flags ?? 0) | FLAG.truncated;
  }
}

/** The address a name under in-addr.arpa or ip6.arpa stands for. */
export function reverseAddress(name: string): string | undefined {
  const labels = name.toLowerCase().replace(/\.$/, '').split('.');
  const suffix = labels.splice(-2).join('.');
  if (suffix === 'in-addr.arpa' && labels.length === 4 && labels.every(isByte))
    return formatAddress(Buffer.from(labels.reverse().map(Number)));
  if (suffix === 'ip6.arpa' && labels.length === 32 && labels.every((label) => /^[0-9a-f]$/.test(label)))
    return formatAddress(Buffer.from(labels.reverse().join(''), 'hex'));
  return undefined;
}

/** An answer from elsewhere, made to fit: when it does not, only its question stays, and the client asks by TCP. */
export function fit(query: Query, reply: Buffer, limit: number): Buffer {
  const out = Buffer.from(reply);
  out.writeUInt16BE(query.id, 0);
  if (out.length <= limit) return out;
  const cut = answer(query, RCODE.ok, [], limit);
  cut.writeUInt16BE(cut.readUInt16BE(2) | FLAG.truncated, 2);
  return cut;
}

export function isTruncated(reply: Buffer): boolean {
  return (reply.readUInt16BE(2) & FLAG.truncated) !== 0;
}

export function rcodeOf(reply: Buffer): number {
  return reply[3]! & 0xf;
}

function headerOnly(id: number, flags: number, rcode: number): Buffer {
  const out = Buffer.alloc(12);
  out.writeUInt16BE(id, 0);
  out.writeUInt16BE(
    FLAG.response | (flags & (0x7800 | FLAG.recursionDesired)) | FLAG.recursionAvailable | rcode,
    2,
  );
  return out;
}

function isByte(label: string): boolean {
  return /^(0|[1-9]\d{0,2})$/.test(label) && Number(label) < 256;
}
