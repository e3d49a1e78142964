import { DHCP, OPTION, formatDhcp, parseDhcp, type DhcpReply, type DhcpRequest } from './dhcp4.ts';
import { encodeNames } from './domain-names.ts';
import { be16, be32, formatUdp, type UdpPacket } from './frames.ts';
import type { GuestLease, GuestNews } from './lease.ts';

/**
 * The frame that answers a guest's DHCP message: it gets its one address, whatever it asks for. Undefined when it deserves
 * none.
 */
export function answerDhcp(packet: UdpPacket, lease: GuestLease, heard: GuestNews = {}): Buffer | undefined {
  const own = lease.ipv4;
  const request = parseDhcp(packet.data);
  if (own === undefined || request === undefined || packet.toPort !== PORT.server) return undefined;
  if (!request.macAddress.equals(lease.macAddress)) return undefined;
  if (
    !packet.from.equals(nowhere) &&
    !packet.from.equals(own.address) &&
    !packet.from.equals(request.address)
  )
    return undefined;
  if (request.type === DHCP.decline && isForUs(request, own.server)) heard.declined?.();
  const type = replyTo(request, own);
  if (type === undefined) return undefined;
  const reply = replyOf(request, type, lease);
  const data = formatDhcp(request, reply, limitOf(request));
  return formatUdp({ ...destination(request, type, lease), data });
}

const PORT = { server: 67, client: 68 };
const nowhere = Buffer.alloc(4);
const everywhere = Buffer.alloc(4, 255);
const everybody = Buffer.alloc(6, 255);

type Ipv4Lease = NonNullable<GuestLease['ipv4']>;

function replyTo(request: DhcpRequest, { address, server }: Ipv4Lease): number | undefined {
  const { type, options } = request;
  switch (type) {
    case DHCP.discover:
      return options.has(OPTION.rapidCommit) ? DHCP.ack : DHCP.offer;
    case DHCP.inform:
      return request.address.equals(address) ? DHCP.ack : undefined;
    case DHCP.request: {
      if (!isForUs(request, server)) return undefined;
      // One that selects or boots again says what it wants in an option; one that renews has it already.
      const wanted = options.get(OPTION.requestedAddress) ?? request.address;
      return wanted.equals(address) ? DHCP.ack : DHCP.nak;
    }
    default:
      return undefined;
  }
}

/** Names no server, or this one. */
function isForUs({ options }: DhcpRequest, server: Buffer): boolean {
  return options.get(OPTION.server)?.equals(server) ?? true;
}

function replyOf(request: DhcpRequest, type: number, lease: GuestLease): DhcpReply {
  const own = lease.ipv4!;
  const client = request.options.get(OPTION.client);
  const begin: DhcpReply['options'] = [
    [OPTION.type, Buffer.from([type])],
    [OPTION.server, own.server],
  ];
  // RFC 6842
  if (client) begin.push([OPTION.client, client]);
  if (type === DHCP.nak) return { clientAddress: nowhere, address: nowhere, server: nowhere, options: begin };
  if (request.type === DHCP.inform)
    return {
      clientAddress: request.address,
      address: nowhere,
      server: own.server,
      options: [...begin, ...configuration(lease, own)],
    };
  const rapid: DhcpReply['options'] =
    request.type === DHCP.discover && type === DHCP.ack ? [[80, nothing]] : [];
  return {
    clientAddress: request.address,
    address: own.address,
    server: own.server,
    options: [...begin, ...rapid, ...times(lease.duration), ...configuration(lease, own)],
  };
}

const nothing = Buffer.alloc(0);

function times(duration: number): DhcpReply['options'] {
  return [
    [OPTION.duration, be32(duration)],
    [OPTION.renewal, be32(duration / 2)],
    [OPTION.rebinding, be32((duration / 8) * 7)],
  ];
}

function configuration({ mtu, hostname, domain, search }: GuestLease, own: Ipv4Lease): DhcpReply['options'] {
  const mask = maskOf(own.prefixLength);
  const routes = routesOf(own);
  const list: [code: number, value: Buffer | undefined][] = [
    [OPTION.mask, mask],
    [OPTION.router, own.router],
    [OPTION.resolvers, Buffer.concat(own.resolvers)],
    [OPTION.routes, routes],
    [OPTION.routesOfWindows, routes],
    [OPTION.mtu, be16(mtu)],
    [OPTION.broadcast, Buffer.from(own.address.map((byte, index) => byte | (~mask[index]! & 255)))],
    [OPTION.hostname, Buffer.from(hostname)],
    [OPTION.domain, Buffer.from(domain)],
    [OPTION.search, encodeNames(search)],
  ];
  return list.filter((option): option is [number, Buffer] => option[1] !== undefined && option[1].length > 0);
}

/**
 * Classless ones (RFC 3442), for which a client leaves the router alone: so the way out is among them. Undefined where the
 * router says it all.
 */
function routesOf({ address, prefixLength, router, routes }: Ipv4Lease): Buffer | undefined {
  const mask = maskOf(prefixLength);
  const onLink = (one: Buffer): boolean =>
    one.every((byte, index) => (byte & mask[index]!) === (address[index]! & mask[index]!));
  const far = router !== undefined && !onLink(router);
  if (routes.length === 0 && !far) return undefined;
  const encode = (destination: Buffer, length: number, gateway: Buffer = nowhere): Buffer =>
    Buffer.concat([Buffer.from([length]), destination.subarray(0, Math.ceil(length / 8)), gateway]);
  return Buffer.concat([
    ...(far ? [encode(router, 32)] : []),
    ...routes.map((route) => encode(route.destination, route.prefixLength, route.gateway)),
    ...(router ? [encode(nowhere, 0, router)] : []),
  ]);
}

function maskOf(prefixLength: number): Buffer {
  return prefixLength === 0 ? Buffer.alloc(4) : be32(0xffffffff << (32 - prefixLength));
}

/** Bytes of a message that the client takes. */
function limitOf({ options }: DhcpRequest): number {
  const asked = options.get(OPTION.maximumSize);
  const size = asked?.length === 2 ? asked.readUInt16BE(0) : 576;
  // Without the headers of IP and UDP.
  return Math.min(Math.max(size, 576), 1500) - 28;
}

function destination(request: DhcpRequest, type: number, lease: GuestLease): Omit<UdpPacket, 'data'> {
  const own = lease.ipv4!;
  const from = { fromMac: lease.serverMac, from: own.server, fromPort: PORT.server, toPort: PORT.client };
  const hasAddress = request.address.equals(own.address);
  if (type === DHCP.nak || (request.wantsBroadcast && !hasAddress))
    return { ...from, toMac: everybody, to: everywhere };
  return { ...from, toMac: lease.macAddress, to: own.address };
}
