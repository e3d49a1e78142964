import { decode, type DecodedPacket } from 'dns-packet';
import { formatAddress, parseAddress } from '../../lib/address.ts';

export const RCODE = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
} as const;

const FLAG = { response: 0x8000, truncated: 0x0200, recursionDesired: 0x0100, recursionAvailable: 0x0080 };

export const TYPE = { A: 1, PTR: 12, AAAA: 28 } as const;

/** A question a client may ask: exactly one, of the internet class. */
export interface Query {
  id: number;
  flags: number;
  name: string;
  type: number;
  /** The question's own bytes: an answer repeats them as they came. */
  question: Buffer;
  /** The client knows EDNS (RFC 6891). */
  edns: boolean;
  /** Bytes of an answer the client takes by UDP. */
  size: number;
  /** As it came: what is forwarded. */
  raw: Buffer;
}

export interface AnswerRecord {
  type: keyof typeof TYPE;
  data: string;
}

const HEADER_BYTES = 12;
const CLASS_IN = 1;

/** Seconds a name may be remembered: containers come and go. */
const TTL = 5;

/** What a packet asks; a ready answer when it asks something else; undefined when it deserves none. */
export function parseQuery(raw: Buffer): Query | Buffer | undefined {
  if (raw.length < HEADER_BYTES || raw.length > 4096) return undefined;
  const id = raw.readUInt16BE(0);
  const flags = raw.readUInt16BE(2);
  // An answer is never answered, so that two servers cannot keep each other busy.
  if ((flags & FLAG.response) !== 0) return undefined;
  const refusal = (code: number): Buffer => header(id, flags, code, [0, 0, 0]);
  if (((flags >> 11) & 0xf) !== 0) return refusal(RCODE.notImplemented);
  // Counts are checked before anything is read: a header may promise 65,535 records.
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map((at) => raw.readUInt16BE(at));
  if (questions !== 1 || answers !== 0 || authorities !== 0 || additionals! > 2)
    return refusal(RCODE.formatError);
  const end = questionEnd(raw);
  const packet = end === 0 ? undefined : read(raw);
  const name = packet?.questions?.[0]?.name;
  if (packet === undefined || name === undefined) return refusal(RCODE.formatError);
  if (raw.readUInt16BE(end - 2) !== CLASS_IN) return refusal(RCODE.notImplemented);
  const option = packet.additionals?.find((record) => record.type === 'OPT');
  const size = option && 'udpPayloadSize' in option ? Number(option.udpPayloadSize) : 512;
  return {
    id,
    flags,
    name,
    type: raw.readUInt16BE(end - 4),
    question: raw.subarray(HEADER_BYTES, end),
    edns: option !== undefined,
    size: Math.min(Math.max(size, 512), 4096),
    raw,
  };
}

/** Where the first question of a packet ends; 0 when its name is cut, or written with pointers. */
export function questionEnd(packet: Buffer): number {
  let at = HEADER_BYTES;
  while (at < packet.length) {
    const length = packet[at]!;
    if (length === 0) return at + 5 <= packet.length ? at + 5 : 0;
    if (length > 63) return 0;
    at += 1 + length;
  }
  return 0;
}

/** An answer with these addresses or names, as many as `limit` bytes hold. */
export function answer(query: Query, rcode: number, records: readonly AnswerRecord[], limit: number): Buffer {
  const option = query.edns ? Buffer.from([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]) : Buffer.alloc(0);
  let room = limit - HEADER_BYTES - query.question.length - option.length;
  const kept: Buffer[] = [];
  for (const record of records) {
    const bytes = encodeRecord(record);
    if (bytes.length > room) break;
    room -= bytes.length;
    kept.push(bytes);
  }
  const truncated = kept.length < records.length ? FLAG.truncated : 0;
  const start = header(query.id, query.flags | truncated, rcode, [1, kept.length, query.edns ? 1 : 0]);
  return Buffer.concat([start, query.question, ...kept, option]);
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
  if (reply.length > limit)
    return answer({ ...query, flags: query.flags | FLAG.truncated }, RCODE.ok, [], limit);
  const out = Buffer.from(reply);
  out.writeUInt16BE(query.id, 0);
  return out;
}

export function isTruncated(reply: Buffer): boolean {
  return (reply.readUInt16BE(2) & FLAG.truncated) !== 0;
}

export function rcodeOf(reply: Buffer): number {
  return reply[3]! & 0xf;
}

/** Whether a name can stand in a packet. */
export function isEncodable(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => /^[\x21-\x7e]{1,63}$/.test(label));
}

function read(raw: Buffer): DecodedPacket | undefined {
  try {
    return decode(raw);
  } catch {
    return undefined;
  }
}

function header(
  id: number,
  flags: number,
  rcode: number,
  [questions, answers, additionals]: [number, number, number],
): Buffer {
  const kept = flags & (FLAG.recursionDesired | FLAG.truncated | 0x7800);
  const words = [
    id,
    FLAG.response | kept | FLAG.recursionAvailable | rcode,
    questions,
    answers,
    0,
    additionals,
  ];
  const out = Buffer.alloc(HEADER_BYTES);
  for (const [index, word] of words.entries()) out.writeUInt16BE(word, index * 2);
  return out;
}

/** The record's name is the question's: a pointer to it. */
function encodeRecord({ type, data }: AnswerRecord): Buffer {
  const value = type === 'PTR' ? encodeName(data) : parseAddress(data)!;
  const out = Buffer.alloc(12);
  out.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
  out.writeUInt16BE(TYPE[type], 2);
  out.writeUInt16BE(CLASS_IN, 4);
  out.writeUInt32BE(TTL, 6);
  out.writeUInt16BE(value.length, 10);
  return Buffer.concat([out, value]);
}

function encodeName(name: string): Buffer {
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function isByte(label: string): boolean {
  return /^(0|[1-9]\d{0,2})$/.test(label) && Number(label) < 256;
}
