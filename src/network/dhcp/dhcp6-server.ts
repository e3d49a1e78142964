import {
  DHCP6,
  OPTION6,
  STATUS6,
  formatDhcp6,
  option6,
  parseDhcp6,
  status6,
  type Association,
  type Dhcp6Request,
} from './dhcp6.ts';
import { encodeNames } from './domain-names.ts';
import { be16, be32, formatUdp, type UdpPacket } from './frames.ts';
import type { GuestLease, GuestNews } from './lease.ts';
import { linkLocal } from './router.ts';

/** The frame that answers a guest's DHCPv6 message with its one address. Undefined when it deserves none. */
export function answerDhcp6(packet: UdpPacket, lease: GuestLease, heard: GuestNews = {}): Buffer | undefined {
  const own = lease.ipv6;
  if (own === undefined || packet.toPort !== PORT.server || !packet.from.subarray(0, 8).equals(linkPrefix))
    return undefined;
  const request = parseDhcp6(packet.data);
  if (request === undefined) return undefined;
  const server = serverId(lease);
  if (!isForUs(request, server)) return undefined;
  if (request.type === DHCP6.decline) heard.declined?.();
  const answer = answerTo(request, lease, own);
  if (answer === undefined) return undefined;
  if (takes(request, answer)) heard.tookIpv6?.();
  const client = request.client ? [option6(OPTION6.client, request.client)] : [];
  const data = formatDhcp6(answer.type, request.transaction, [
    ...client,
    option6(OPTION6.server, server),
    ...answer.options,
  ]);
  return formatUdp({
    fromMac: lease.serverMac,
    toMac: lease.macAddress,
    from: linkLocal(lease.serverMac),
    to: packet.from,
    fromPort: PORT.server,
    toPort: PORT.client,
    data,
  });
}

const PORT = { server: 547, client: 546 };
const linkPrefix = Buffer.from('fe80000000000000', 'hex');

type Ipv6Lease = NonNullable<GuestLease['ipv6']>;
type Answer = { type: number; options: Buffer[] };

/** By its station (RFC 8415, 11.4): the same after every restart. */
function serverId({ serverMac }: GuestLease): Buffer {
  return Buffer.concat([be16(3), be16(1), serverMac]);
}

/** Which messages must name a server, and which must not (RFC 8415, 16). */
function isForUs({ type, client, server }: Dhcp6Request, own: Buffer): boolean {
  switch (type) {
    case DHCP6.solicit:
    case DHCP6.confirm:
    case DHCP6.rebind:
      return client !== undefined && server === undefined;
    case DHCP6.request:
    case DHCP6.renew:
    case DHCP6.release:
    case DHCP6.decline:
      return client !== undefined && server?.equals(own) === true;
    case DHCP6.inform:
      return server === undefined || server.equals(own);
    default:
      return false;
  }
}

function answerTo(request: Dhcp6Request, lease: GuestLease, own: Ipv6Lease): Answer | undefined {
  const { type, associations, rapidCommit } = request;
  const settings = configuration(lease, own);
  const given = (): Buffer[] => associations.map((one) => associationOption(one, lease, own));
  switch (type) {
    case DHCP6.solicit:
      return rapidCommit
        ? { type: DHCP6.reply, options: [option6(OPTION6.rapidCommit), ...given(), ...settings] }
        : {
            type: DHCP6.advertise,
            options: [option6(OPTION6.preference, Buffer.from([255])), ...given(), ...settings],
          };
    case DHCP6.request:
    case DHCP6.renew:
    case DHCP6.rebind:
      return { type: DHCP6.reply, options: [...given(), ...settings] };
    case DHCP6.confirm: {
      const has = associations.flatMap(({ addresses }) => addresses);
      if (has.length === 0) return undefined;
      const right = has.every((address) => address.equals(own.address));
      const status = right
        ? status6(STATUS6.success, 'the address is right')
        : status6(STATUS6.notOnLink, 'another address has been given');
      return { type: DHCP6.reply, options: [status] };
    }
    case DHCP6.release:
    case DHCP6.decline:
      return { type: DHCP6.reply, options: [status6(STATUS6.success, 'heard')] };
    case DHCP6.inform:
      return { type: DHCP6.reply, options: settings };
    default:
      return undefined;
  }
}

/** From now on the guest has its address. */
function takes({ type, associations }: Dhcp6Request, answer: Answer): boolean {
  const asked: number[] = [DHCP6.solicit, DHCP6.request, DHCP6.renew, DHCP6.rebind];
  return (
    answer.type === DHCP6.reply &&
    asked.includes(type) &&
    associations.some(({ kind }) => kind === 'addresses')
  );
}

function associationOption({ kind, id, addresses }: Association, lease: GuestLease, own: Ipv6Lease): Buffer {
  if (kind === 'prefixes')
    return option6(
      OPTION6.prefixes,
      id,
      be32(0),
      be32(0),
      status6(STATUS6.noPrefixes, 'no prefixes are given'),
    );
  if (kind === 'temporaryAddresses')
    return option6(
      OPTION6.temporaryAddresses,
      id,
      status6(STATUS6.noAddresses, 'no temporary addresses are given'),
    );
  const { duration } = lease;
  const address = (one: Buffer, seconds: number): Buffer =>
    option6(OPTION6.address, one, be32(seconds), be32(seconds));
  // One that it has and should not have any more ends at once.
  const wrong = addresses.filter((one) => !one.equals(own.address));
  return option6(
    OPTION6.addresses,
    id,
    be32(duration / 2),
    be32((duration / 5) * 4),
    address(own.address, duration),
    ...wrong.map((one) => address(one, 0)),
  );
}

function configuration({ search }: GuestLease, { resolvers }: Ipv6Lease): Buffer[] {
  const names = encodeNames(search);
  return [
    ...(resolvers.length > 0 ? [option6(OPTION6.resolvers, ...resolvers)] : []),
    ...(names.length > 0 ? [option6(OPTION6.search, names)] : []),
  ];
}
