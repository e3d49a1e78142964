import { NLM_F, be32, nested, text, type Message } from './netlink-message.ts';
import { readPodLinks, type PodLinks } from './guest-record.ts';
import { serviceMark } from './guest-rules.ts';
import { macBytes, tapMac } from './guest-wiring.ts';
import { setNeighbour, setRoute } from './netlink-address.ts';
import { addAddress, setNoIpv6Address } from './netlink.ts';
import { NetworkJob } from './network-job.ts';
import { FAMILY, NFT, batch, be16, field, nfMessage, protocolIs, setMeta } from './nftables-message.ts';

/** A guest's network card, and what its namespace serves it by that card's tap. */
export interface GuestServiceRequest {
  /** The pod's interface. */
  link: string;
  /**
   * Where the guest finds the resolver, at port 53: addresses of its network that are not its own and that packets go by this
   * card to, such as the network's gateway. `client` is the guest's address of that family.
   */
  resolvers: { address: Buffer; client: Buffer }[];
}

/** The descriptors are the caller's to close. */
export interface GuestServiceSockets {
  link: string;
  tap: string;
  /** The tap's own address, whose frames the guest takes as the network's. */
  macAddress: Buffer;
  guestMacAddress: Buffer;
  mtu: number;
  /**
   * Gets what the guest asks of DHCP servers and routers, as whole frames; takes frames for the guest. It sees them before any
   * rule does: the sender is anybody.
   */
  packets: number;
  /** In the order of the request. */
  resolvers: { udp: number; tcp: number }[];
}

/**
 * Opens what a guest that configures itself (see `wireGuest`) asks of its network, in the namespace and so seen by nobody
 * else. Of links that are not there, or not wired, nothing. Again: what was opened before is the caller's to close first.
 */
export async function openGuestServices(
  netnsPath: string,
  requests: readonly GuestServiceRequest[],
): Promise<GuestServiceSockets[]> {
  const pod = await readPodLinks(netnsPath);
  const found = requests.flatMap((request) => withTap(request, pod));
  if (found.length === 0) return [];
  const job = new NetworkJob().enter(netnsPath);
  for (const service of found) lead(job, service);
  job.netfilter(serviceRules(found));
  for (const { tap, resolvers } of found) {
    job.packets(tap, questions);
    for (const { address } of resolvers) {
      const family = address.length === 4 ? 'ipv4' : 'ipv6';
      job.socket({ family, type: 'udp', address, port: 53 });
      job.socket({ family, type: 'tcp', address, port: 53, listen: true });
    }
  }
  const { sockets } = await job.run();
  const next = (): number => sockets.shift()!.fd;
  return found.map(({ link, tap, macAddress, guestMacAddress, mtu, resolvers }) => ({
    link,
    tap,
    macAddress,
    guestMacAddress,
    mtu,
    packets: next(),
    resolvers: resolvers.map(() => ({ udp: next(), tcp: next() })),
  }));
}

interface Service extends GuestServiceRequest {
  tap: string;
  macAddress: Buffer;
  guestMacAddress: Buffer;
  mtu: number;
}

function withTap(request: GuestServiceRequest, pod: PodLinks): Service[] {
  const cable = pod.cables.find(({ name }) => name === request.link);
  const tap = pod.taps.find(({ record }) => record.link === request.link);
  if (cable === undefined || tap === undefined) return [];
  return [
    {
      ...request,
      tap: tap.name,
      macAddress: tapMac(cable.mac),
      guestMacAddress: macBytes(cable.mac),
      mtu: cable.mtu,
    },
  ];
}

/** The namespace has the resolver's addresses on the tap, and finds the guest there. */
function lead(job: NetworkJob, { tap, resolvers, guestMacAddress }: Service): void {
  if (resolvers.some(({ address }) => address.length === 16)) {
    // Nothing of its own: no address, and so no question to the guest's routers.
    job.route([setNoIpv6Address(tap)]);
    job.write(`/proc/sys/net/ipv6/conf/${tap}/accept_ra`, '0');
    job.write(`/proc/sys/net/ipv6/conf/${tap}/disable_ipv6`, '0');
  }
  job.route(
    resolvers.flatMap(({ address, client }) => [
      addAddress(tap, address, address.length * 8),
      setRoute(tap, { destination: client, prefixLength: client.length * 8 }),
      setNeighbour(tap, client, guestMacAddress),
    ]),
  );
}

/** Before the rules of the guest's own frames (guest-rules.ts), which see the mark. */
function serviceRules(services: readonly Service[]): Message[] {
  const [INGRESS, BEFORE, ACCEPT] = [0, -10, 1];
  const HOST = Buffer.from([0]);
  const own = [text(1, table)];
  const create = nfMessage(NFT.newTable, NLM_F.create | NLM_F.ack, FAMILY.netdev, own);
  const chains = services.flatMap(({ tap, resolvers, guestMacAddress }) => [
    nfMessage(NFT.newChain, NLM_F.create | NLM_F.ack, FAMILY.netdev, [
      ...own,
      text(3, `of_${tap}`),
      nested(4, [be32(1, INGRESS), be32(2, BEFORE), text(3, tap)]),
      be32(5, ACCEPT),
      text(7, 'filter'),
    ]),
    ...resolvers.flatMap(({ address, client }) =>
      [TCP, UDP].map((protocol) =>
        nfMessage(NFT.newRule, NLM_F.create | NLM_F.append | NLM_F.ack, FAMILY.netdev, [
          ...own,
          text(2, `of_${tap}`),
          nested(4, [
            ...field('link', 6, guestMacAddress),
            ...field('link', 12, be16(address.length === 4 ? 0x0800 : 0x86dd)),
            ...field('network', address.length === 4 ? 12 : 8, client),
            ...field('network', address.length === 4 ? 16 : 24, address),
            ...protocolIs(protocol),
            ...field('transport', 2, be16(53)),
            ...setMeta('mark', serviceMark),
            // The frame goes to the station that has the address on the network.
            ...setMeta('packetType', HOST),
          ]),
        ]),
      ),
    ),
  ]);
  // Created first, so that the deletion always finds one.
  return batch([create, nfMessage(NFT.delTable, NLM_F.ack, FAMILY.netdev, own), create, ...chains]);
}

const table = 'isle_services';
const TCP = 6;
const UDP = 17;

/**
 * Classic BPF: UDP by IPv4 to port 67, UDP by IPv6 to port 547, and router solicitations. What a client asks comes without
 * tags, fragments and IPv6's extension headers.
 */
const questions = ((): Buffer => {
  const [LDH, LDB, LDX_IP_HEADER, LDH_AFTER_IT, JEQ, JSET, RET] = [0x28, 0x30, 0xb1, 0x48, 0x15, 0x45, 0x06];
  const [TAKE, DROP] = [17, 18];
  const program: [code: number, value: number, to?: { yes?: number; no?: number }][] = [
    [LDH, 12],
    [JEQ, 0x0800, { no: 9 }],
    [LDB, 23],
    [JEQ, UDP, { no: DROP }],
    [LDH, 20],
    [JSET, 0x1fff, { yes: DROP }],
    [LDX_IP_HEADER, 14],
    [LDH_AFTER_IT, 16],
    [JEQ, 67, { yes: TAKE, no: DROP }],
    [JEQ, 0x86dd, { no: DROP }],
    [LDB, 20],
    [JEQ, UDP, { no: 14 }],
    [LDH, 56],
    [JEQ, 547, { yes: TAKE, no: DROP }],
    [JEQ, 58, { no: DROP }],
    [LDB, 54],
    [JEQ, 133, { yes: TAKE, no: DROP }],
    [RET, 2048],
    [RET, 0],
  ];
  const out = Buffer.alloc(program.length * 8);
  for (const [index, [code, value, to]] of program.entries()) {
    out.writeUInt16LE(code, index * 8);
    const skip = (line: number | undefined): number => (line ?? index + 1) - index - 1;
    out[index * 8 + 2] = to ? skip(to.yes) : 0;
    out[index * 8 + 3] = to ? skip(to.no) : 0;
    out.writeUInt32LE(value, index * 8 + 4);
  }
  return out;
})();
