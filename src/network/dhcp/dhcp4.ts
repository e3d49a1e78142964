/** DHCP's messages (RFC 2131, 2132): parsed from anybody's bytes, and made. */

export const DHCP = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;

export const OPTION = {
  mask: 1,
  router: 3,
  resolvers: 6,
  hostname: 12,
  domain: 15,
  mtu: 26,
  broadcast: 28,
  requestedAddress: 50,
  duration: 51,
  overload: 52,
  type: 53,
  server: 54,
  wanted: 55,
  message: 56,
  maximumSize: 57,
  renewal: 58,
  rebinding: 59,
  client: 61,
  rapidCommit: 80,
  search: 119,
  routes: 121,
  routesOfWindows: 249,
} as const;

export interface DhcpRequest {
  type: number;
  transaction: Buffer;
  seconds: Buffer;
  /** The client cannot yet take a packet to its address. */
  wantsBroadcast: boolean;
  /** What it has already, or 0.0.0.0. */
  address: Buffer;
  /** 6 bytes. */
  macAddress: Buffer;
  options: Map<number, Buffer>;
}

/** Undefined for what is no question of a client on the same link. */
export function parseDhcp(data: Buffer): DhcpRequest | undefined {
  if (data.length < FIXED + 4 || data.length > 1500) return undefined;
  const [operation, hardware, length] = data;
  if (operation !== 1 || hardware !== 1 || length !== 6) return undefined;
  if (!data.subarray(FIXED, FIXED + 4).equals(magic)) return undefined;
  // From a relay: there is none between a guest and its tap.
  if (data.readUInt32BE(24) !== 0) return undefined;
  const options = parseOptions(data);
  const type = options?.get(OPTION.type);
  if (options === undefined || type?.length !== 1) return undefined;
  return {
    type: type[0]!,
    transaction: data.subarray(4, 8),
    seconds: data.subarray(8, 10),
    wantsBroadcast: (data[10]! & 0x80) !== 0,
    address: data.subarray(12, 16),
    macAddress: data.subarray(28, 34),
    options,
  };
}

export interface DhcpReply {
  /** The client's own, when it has one already. */
  clientAddress: Buffer;
  /** Given. */
  address: Buffer;
  server: Buffer;
  options: [code: number, value: Buffer][];
}

/** An answer of at most `limit` bytes; options that do not fit are left out, the last first. */
export function formatDhcp(request: DhcpRequest, reply: DhcpReply, limit: number): Buffer {
  const head = Buffer.alloc(FIXED);
  head.set([2, 1, 6, 0]);
  head.set(request.transaction, 4);
  if (request.wantsBroadcast) head[10] = 0x80;
  head.set(reply.clientAddress, 12);
  head.set(reply.address, 16);
  head.set(reply.server, 20);
  head.set(request.macAddress, 28);
  let room = limit - FIXED - 5;
  const kept: Buffer[] = [];
  for (const [code, value] of reply.options) {
    const bytes = formatOption(code, value);
    if (bytes.length > room) continue;
    room -= bytes.length;
    kept.push(bytes);
  }
  const message = Buffer.concat([head, magic, ...kept, Buffer.from([END])]);
  // Shorter ones than BOOTP's are refused by some.
  return message.length < 300 ? Buffer.concat([message], 300) : message;
}

const FIXED = 236;
const magic = Buffer.from([99, 130, 83, 99]);
const [PAD, END] = [0, 255];

/** Undefined when an option is cut. */
function parseOptions(data: Buffer): Map<number, Buffer> | undefined {
  const options = new Map<number, Buffer>();
  if (!readOptions(data.subarray(FIXED + 4), options)) return undefined;
  const overload = options.get(OPTION.overload)?.[0] ?? 0;
  const file = data.subarray(108, 236);
  const serverName = data.subarray(44, 108);
  if ((overload & 1) !== 0 && !readOptions(file, options)) return undefined;
  if ((overload & 2) !== 0 && !readOptions(serverName, options)) return undefined;
  return options;
}

/** What stands there twice is one long option (RFC 3396). */
function readOptions(area: Buffer, options: Map<number, Buffer>): boolean {
  for (let at = 0; at < area.length && area[at] !== END; ) {
    if (area[at] === PAD) {
      at++;
      continue;
    }
    const length = area[at + 1];
    if (length === undefined || at + 2 + length > area.length) return false;
    const value = area.subarray(at + 2, at + 2 + length);
    const before = options.get(area[at]!);
    options.set(area[at]!, before ? Buffer.concat([before, value]) : value);
    at += 2 + length;
  }
  return true;
}

/** In pieces of 255 bytes (RFC 3396). */
function formatOption(code: number, value: Buffer): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at === 0 || at < value.length; at += 255) {
    const piece = value.subarray(at, at + 255);
    pieces.push(Buffer.from([code, piece.length]), piece);
  }
  return Buffer.concat(pieces);
}
