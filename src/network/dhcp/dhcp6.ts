import { be16 } from './frames.ts';

/** DHCPv6's messages (RFC 8415): parsed from anybody's bytes, and made. */

export const DHCP6 = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  inform: 11,
} as const;

export const OPTION6 = {
  client: 1,
  server: 2,
  addresses: 3,
  temporaryAddresses: 4,
  address: 5,
  preference: 7,
  status: 13,
  rapidCommit: 14,
  resolvers: 23,
  search: 24,
  prefixes: 25,
} as const;

export const STATUS6 = { success: 0, noAddresses: 2, noBinding: 3, notOnLink: 4, noPrefixes: 6 } as const;

export interface Dhcp6Request {
  type: number;
  /** 3 bytes. */
  transaction: Buffer;
  client: Buffer | undefined;
  server: Buffer | undefined;
  rapidCommit: boolean;
  /** What the client wants addresses for, and which it has or hopes for. */
  associations: Association[];
}

export interface Association {
  kind: 'addresses' | 'temporaryAddresses' | 'prefixes';
  /** 4 bytes. */
  id: Buffer;
  addresses: Buffer[];
}

/** No client wants more; each costs an answer. */
const MOST_ASSOCIATIONS = 8;

export function parseDhcp6(data: Buffer): Dhcp6Request | undefined {
  if (data.length < 4 || data.length > 1500) return undefined;
  const options = parseOptions6(data.subarray(4));
  if (options === undefined) return undefined;
  const one = (code: number): Buffer | undefined => options.find((option) => option.code === code)?.value;
  const client = one(OPTION6.client);
  // A DUID (RFC 8415, 11.1).
  if (client !== undefined && (client.length < 3 || client.length > 130)) return undefined;
  const associations = options.flatMap(readAssociation);
  if (associations.length > MOST_ASSOCIATIONS) return undefined;
  return {
    type: data[0]!,
    transaction: data.subarray(1, 4),
    client,
    server: one(OPTION6.server),
    rapidCommit: one(OPTION6.rapidCommit) !== undefined,
    associations,
  };
}

export function formatDhcp6(type: number, transaction: Buffer, options: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([type]), transaction, ...options]);
}

export function option6(code: number, ...value: Buffer[]): Buffer {
  const whole = Buffer.concat(value);
  return Buffer.concat([be16(code), be16(whole.length), whole]);
}

export function status6(code: number, text: string): Buffer {
  return option6(OPTION6.status, be16(code), Buffer.from(text));
}

interface Option {
  code: number;
  value: Buffer;
}

/** Undefined when one is cut. */
function parseOptions6(data: Buffer): Option[] | undefined {
  const options: Option[] = [];
  for (let at = 0; at < data.length; ) {
    if (at + 4 > data.length) return undefined;
    const length = data.readUInt16BE(at + 2);
    if (at + 4 + length > data.length) return undefined;
    options.push({ code: data.readUInt16BE(at), value: data.subarray(at + 4, at + 4 + length) });
    at += 4 + length;
  }
  return options;
}

function readAssociation({ code, value }: Option): Association[] {
  const [kind, fixed] =
    code === OPTION6.addresses
      ? (['addresses', 12] as const)
      : code === OPTION6.temporaryAddresses
        ? (['temporaryAddresses', 4] as const)
        : code === OPTION6.prefixes
          ? (['prefixes', 12] as const)
          : [undefined, 0];
  if (kind === undefined || value.length < fixed) return [];
  const inner = parseOptions6(value.subarray(fixed)) ?? [];
  const addresses = inner
    .filter((option) => option.code === OPTION6.address && option.value.length >= 24)
    .map((option) => option.value.subarray(0, 16));
  return [{ kind, id: value.subarray(0, 4), addresses }];
}
