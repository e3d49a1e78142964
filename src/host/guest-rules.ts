import { parseAddress } from '../lib/address.ts';
import { RESOLVER_ADDRESS } from '../lib/resolver-address.ts';
import { NLM_F, be32, nested, text, type Attribute, type Message } from './netlink-message.ts';
import {
  FAMILY,
  NFT,
  batch,
  be16,
  field,
  forwardTo,
  markIs,
  nfMessage,
  protocolIs,
  verdict,
} from './nftables-message.ts';

/** A guest's link as the rules of its pod's namespace know it. */
export interface GuestPort {
  /** The pod's interface, and the tap that leads to the guest. */
  link: string;
  tap: string;
  /** The guest's, 6 bytes. */
  mac: Buffer;
  /** The guest's own, of 4 and 16 bytes. */
  addresses: Buffer[];
  /** From which address it asks the resolver, if it does by this link. */
  resolverClient?: Buffer;
  /** It asks for its configuration (DHCP, router advertisements): the namespace alone answers, see guest-services.ts. */
  configuresItself?: boolean;
}

/** What guest-services.ts takes for the namespace itself carries it. */
export const serviceMark = Buffer.from('ISLE');

/**
 * Rules of a pod's namespace whose network belongs to a guest. Frames go from the one link straight out by the other,
 * before the namespace's own stack sees them: that answers nobody. What comes from the guest is hostile:
 *
 * - It has no other station's address as sender, in Ethernet, ARP, IP and neighbour discovery, and advertises no
 *   router (RFC 6105), so that it can take no neighbour's place.
 * - Only IPv4, ARP and IPv6 pass, untagged: nothing that a bridge itself would act on.
 * - The one thing for the namespace is a question to the resolver.
 *
 * What comes to the guest has no loopback address: the guest takes the resolver's answers from one. A guest that configures
 * itself neither hears nor is heard when it speaks of that with anybody but the namespace.
 *
 * @param replace such rules of before. Ten milliseconds, which the kernel waits before it lets go of a table.
 */
export function guestRules(ports: readonly GuestPort[], replace: boolean): Message[] {
  const create = nfMessage(NFT.newTable, NLM_F.create | NLM_F.ack, FAMILY.netdev, [text(1, table)]);
  const remove = nfMessage(NFT.delTable, NLM_F.ack, FAMILY.netdev, [text(1, table)]);
  return batch([
    // Created first, so that the deletion always finds one.
    ...(replace ? [create, remove] : []),
    create,
    ...ports.flatMap((port) => [
      ...chain(port.link, toGuest(port)),
      ...chain(port.tap, [
        [...etherFrom(port.mac, false), verdict('drop')],
        ...ofConfiguration(port),
        ...fromGuest4(port),
        ...fromGuest6(port),
      ]),
    ]),
  ]);
}

export function removeGuestRules(): Message[] {
  return batch([nfMessage(NFT.delTable, NLM_F.ack, FAMILY.netdev, [text(1, table)])]);
}

const table = 'isle_guest';

type Rule = Attribute[];

const etherType = (type: number, equal = true): Rule => field('link', 12, be16(type), equal);
const etherFrom = (mac: Buffer, equal = true): Rule => field('link', 6, mac, equal);
const ipFrom = (address: Buffer): Rule => field('network', address.length === 4 ? 12 : 8, address);
const ETHER = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd };
const PROTOCOL = { tcp: 6, udp: 17, icmp6: 58 };
const ICMP6 = {
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighbourAdvertisement: 136,
  redirect: 137,
};
const DHCP = { server: be16(67), client: be16(68), server6: be16(547), client6: be16(546) };

const udp = (type: number, at: 'from' | 'to', port: Buffer): Rule => [
  ...etherType(type),
  ...protocolIs(PROTOCOL.udp),
  ...field('transport', at === 'from' ? 0 : 2, port),
];
const icmp6 = (type: number): Rule => [
  ...etherType(ETHER.ipv6),
  ...protocolIs(PROTOCOL.icmp6),
  ...field('transport', 0, Buffer.from([type])),
];

function toGuest({ tap, configuresItself }: GuestPort): Rule[] {
  const loopback = Buffer.from([127]);
  const offers = configuresItself
    ? [
        udp(ETHER.ipv4, 'to', DHCP.client),
        udp(ETHER.ipv6, 'to', DHCP.client6),
        icmp6(ICMP6.routerAdvertisement),
        icmp6(ICMP6.redirect),
      ]
    : [];
  return [
    ...offers.map((rule) => [...rule, verdict('drop')]),
    [...etherType(ETHER.ipv4), ...field('network', 12, loopback), verdict('drop')],
    [...etherType(ETHER.ipv4), ...field('network', 16, loopback), verdict('drop')],
    ...[ETHER.ipv4, ETHER.arp, ETHER.ipv6].map((type) => [...etherType(type), ...forwardTo(tap)]),
  ];
}

/** To the namespace itself, or to nobody. */
function ofConfiguration({ configuresItself }: GuestPort): Rule[] {
  if (!configuresItself) return [];
  const nobodys = [
    udp(ETHER.ipv4, 'to', DHCP.server),
    udp(ETHER.ipv4, 'from', DHCP.server),
    udp(ETHER.ipv6, 'to', DHCP.server6),
    udp(ETHER.ipv6, 'from', DHCP.server6),
    icmp6(ICMP6.routerSolicitation),
  ];
  return [[...markIs(serviceMark), verdict('accept')], ...nobodys.map((rule) => [...rule, verdict('drop')])];
}

function fromGuest4({ link, mac, addresses, resolverClient }: GuestPort): Rule[] {
  const own = addresses.filter((address) => address.length === 4);
  const resolver = parseAddress(RESOLVER_ADDRESS)!;
  const isQuestion = (client: Buffer, protocol: number): Rule => [
    ...etherType(ETHER.ipv4),
    ...ipFrom(client),
    ...field('network', 16, resolver),
    ...protocolIs(protocol),
    ...field('transport', 2, be16(53)),
    verdict('accept'),
  ];
  // Ethernet and IPv4, and the sender's addresses of both kinds.
  const arp = (sender: Buffer): Rule => [
    ...etherType(ETHER.arp),
    ...field('network', 0, Buffer.from([0, 1, 8, 0, 6, 4])),
    ...field('network', 8, Buffer.concat([mac, sender])),
    ...forwardTo(link),
  ];
  const asked = resolverClient
    ? [PROTOCOL.udp, PROTOCOL.tcp].map((protocol) => isQuestion(resolverClient, protocol))
    : [];
  return [
    ...asked,
    [...etherType(ETHER.ipv4), ...field('network', 16, Buffer.from([127])), verdict('drop')],
    ...own.map((address) => [...etherType(ETHER.ipv4), ...ipFrom(address), ...forwardTo(link)]),
    // No address: it asks whether one is taken (RFC 5227).
    ...(own.length > 0 ? [...own, Buffer.alloc(4)].map(arp) : []),
  ];
}

function fromGuest6({ link, mac, addresses, configuresItself }: GuestPort): Rule[] {
  const given = addresses.filter((address) => address.length === 16);
  if (given.length === 0) return [];
  const own = [...given, linkLocal(mac)];
  // Of these a guest that chose an address has neither: see chosenAddress.
  const strange: Rule[] = configuresItself
    ? [field('transport', 8, linkPrefix, false), field('transport', 8 + 11, madeOfMac)]
    : [[]];
  return [
    [...icmp6(ICMP6.routerAdvertisement), verdict('drop')],
    [...icmp6(ICMP6.redirect), verdict('drop')],
    ...strange.map((rule) => [
      ...icmp6(ICMP6.neighbourAdvertisement),
      ...own.flatMap((address) => field('transport', 8, address, false)),
      ...rule,
      verdict('drop'),
    ]),
    ...own.map((address) => [...etherType(ETHER.ipv6), ...ipFrom(address), ...forwardTo(link)]),
    ...(configuresItself ? [[...etherType(ETHER.ipv6), ...chosenAddress, ...forwardTo(link)]] : []),
    [
      ...etherType(ETHER.ipv6),
      ...ipFrom(Buffer.alloc(16)),
      ...protocolIs(PROTOCOL.icmp6),
      ...forwardTo(link),
    ],
  ];
}

/**
 * Comes from a link-local address that a station chose at random, as many systems do (RFC 7217): none that is made of a
 * neighbour's Ethernet address, as the network's router's is.
 */
const linkPrefix = Buffer.from('fe80000000000000', 'hex');
const madeOfMac = Buffer.from([0xff, 0xfe]);
const chosenAddress: Rule = [
  ...field('network', 8, linkPrefix),
  ...field('network', 8 + 11, madeOfMac, false),
];

/** The address a station gives itself (RFC 4291, appendix A). */
function linkLocal(mac: Buffer): Buffer {
  const address = Buffer.concat([linkPrefix, mac.subarray(0, 3), Buffer.from([0xff, 0xfe]), mac.subarray(3)]);
  address[8]! ^= 2;
  return address;
}

/** A chain of what comes in by the link: what no rule takes is dropped. */
function chain(link: string, rules: Rule[]): Message[] {
  const INGRESS = 0;
  const DROP = 0;
  const hook = [be32(1, INGRESS), be32(2, 0), text(3, link)];
  const name = `from_${link}`;
  return [
    nfMessage(NFT.newChain, NLM_F.create | NLM_F.ack, FAMILY.netdev, [
      text(1, table),
      text(3, name),
      nested(4, hook),
      be32(5, DROP),
      text(7, 'filter'),
    ]),
    ...rules.map((rule) =>
      nfMessage(NFT.newRule, NLM_F.create | NLM_F.append | NLM_F.ack, FAMILY.netdev, [
        text(1, table),
        text(2, name),
        nested(4, rule),
      ]),
    ),
  ];
}
