import { errnoOf } from '../lib/errors.ts';
import { NetworkJob } from './network-job.ts';
import {
  NLM_F,
  attributes,
  bytes,
  message,
  nested,
  patched,
  readText,
  split,
  text,
  u32,
  u8,
  type Attribute,
  type Message,
} from './netlink-message.ts';

/**
 * rtnetlink: requests as values, to be put into a {@link NetworkJob}. Links are named, not numbered: the job's
 * thread looks the index up where it is then. Numbers are those of linux/rtnetlink.h and linux/if_link.h.
 */

const RTM = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  setLink: 19,
  newAddr: 20,
  newRoute: 24,
  getRoute: 26,
};
const IFLA = {
  address: 1,
  ifname: 3,
  mtu: 4,
  master: 10,
  linkInfo: 18,
  alias: 20,
  stats64: 23,
  afSpec: 26,
  netNsFd: 28,
  protInfo: 12,
};
const IFF_UP = 1;
const AF = { unspec: 0, inet: 2, bridge: 7, inet6: 10 };

export interface LinkOptions {
  up?: boolean;
  mtu?: number;
  /** 6 bytes */
  mac?: Buffer;
  /** Name of the bridge it belongs to. */
  master?: string;
  /** Free words about it, up to 255 bytes. The kernel takes them for an existing link only. */
  alias?: string;
}

export function addBridge(name: string, options: LinkOptions): Message {
  return newLink(
    NLM_F.create | NLM_F.excl,
    [text(IFLA.ifname, name), nested(IFLA.linkInfo, [text(1, 'bridge')])],
    options,
  );
}

/** Two ends of a cable: `name` where the job is, `peer.name` in the job's inner namespace (or here as well). */
export function addVeth(
  name: string,
  options: LinkOptions,
  peer: LinkOptions & { name: string; inner: boolean },
): Message {
  const far = [text(IFLA.ifname, peer.name), ...linkAttributes(peer)];
  if (peer.inner) far.push(patched(IFLA.netNsFd, 'innerFd'));
  return newLink(
    NLM_F.create | NLM_F.excl,
    [
      text(IFLA.ifname, name),
      nested(IFLA.linkInfo, [text(1, 'veth'), nested(2, [nested(1, far, linkHeader(peer))])]),
    ],
    options,
  );
}

/** Changes a link that exists. */
export function setLink(name: string, options: LinkOptions): Message {
  return message(RTM.newLink, NLM_F.ack, linkHeader(options), linkAttributes(options), [
    { at: 4, value: { ifindexOf: name } },
  ]);
}

/** Gives the link no link-local IPv6 address of its own. The kernel takes this for an existing link only. */
export function setNoIpv6Address(name: string): Message {
  const IFLA_INET6_ADDR_GEN_MODE = 8;
  const IN6_ADDR_GEN_MODE_NONE = 1;
  return message(
    RTM.newLink,
    NLM_F.ack,
    header16(AF.unspec),
    [nested(IFLA.afSpec, [nested(AF.inet6, [u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)])])],
    [{ at: 4, value: { ifindexOf: name } }],
  );
}

/**
 * Sets a bridge's port: an isolated one reaches the bridge but no other isolated port; one in hairpin mode gets back
 * what it sent to itself.
 */
export function setPort(name: string, options: { isolated: boolean; hairpin: boolean }): Message {
  const IFLA_BRPORT_MODE = 4;
  const IFLA_BRPORT_ISOLATED = 33;
  const attributes = [
    u8(IFLA_BRPORT_MODE, options.hairpin ? 1 : 0),
    u8(IFLA_BRPORT_ISOLATED, options.isolated ? 1 : 0),
  ];
  return message(
    RTM.setLink,
    NLM_F.ack,
    header16(AF.bridge),
    [nested(IFLA.protInfo, attributes)],
    [{ at: 4, value: { ifindexOf: name } }],
  );
}

/** Deletes by name: a link that is not there answers ENODEV. */
export function deleteLink(name: string): Message {
  return message(RTM.delLink, NLM_F.ack, header16(AF.unspec), [text(IFLA.ifname, name)]);
}

/** Gives the link an address; the same one again is no error. `address` has 4 or 16 bytes. */
export function addAddress(link: string, address: Buffer, prefixLength: number): Message {
  const header = Buffer.alloc(8);
  header[0] = address.length === 4 ? AF.inet : AF.inet6;
  header[1] = prefixLength;
  // IFA_F_NODAD: the address is ours by record, and the pod must not wait a second for it.
  if (address.length === 16) header[2] = 2;
  const list = [bytes(2, address), bytes(1, address)];
  if (address.length === 4 && prefixLength < 31) list.push(bytes(4, broadcast(address, prefixLength)));
  const flags = NLM_F.ack | NLM_F.create | NLM_F.replace;
  return message(RTM.newAddr, flags, header, list, [{ at: 4, value: { ifindexOf: link } }]);
}

/** Sets the default route. */
export function setDefaultRoute(gateway: Buffer, link: string): Message {
  // struct rtmsg: main table, protocol static, scope universe, unicast
  const header = Buffer.from([gateway.length === 4 ? AF.inet : AF.inet6, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0]);
  const flags = NLM_F.ack | NLM_F.create | NLM_F.replace;
  return message(RTM.newRoute, flags, header, [bytes(5, gateway), patched(4, { ifindexOf: link })]);
}

export interface Link {
  index: number;
  name: string;
  /** `veth`, `bridge`, `tun`; '' for a device. */
  kind: string;
  up: boolean;
  mtu: number;
  mac: string;
  alias: string;
  /** Index of the bridge it belongs to, or 0. */
  master: number;
  stats: LinkStats;
}

export interface LinkStats {
  rxBytes: number;
  rxPackets: number;
  rxErrors: number;
  rxDropped: number;
  txBytes: number;
  txPackets: number;
  txErrors: number;
  txDropped: number;
}

/** Sends the link into the job's inner namespace. EEXIST when that has one of this name. */
export function moveLink(name: string): Message {
  const list = [patched(IFLA.netNsFd, 'innerFd')];
  return message(RTM.newLink, NLM_F.ack, header16(AF.unspec), list, [{ at: 4, value: { ifindexOf: name } }]);
}

export function dumpLinks(): Message {
  return message(RTM.getLink, NLM_F.dump, header16(AF.unspec), []);
}

/** All links of the namespace mounted at `netns`, or of the daemon's own. */
export async function listLinks(netns?: string): Promise<Link[]> {
  return readLinks(await dump(dumpLinks(), netns));
}

export function readLinks(reply: Buffer): Link[] {
  return split(reply)
    .filter(({ type }) => type === RTM.newLink)
    .map(({ body }) => readLink(body));
}

/** Those links of the daemon's namespace that exist, by name. */
export async function findLinks(names: readonly string[]): Promise<Map<string, Link>> {
  if (names.length === 0) return new Map();
  const requests = names.map((name) =>
    message(RTM.getLink, NLM_F.ack, header16(AF.unspec), [text(IFLA.ifname, name)]),
  );
  const { replies } = await new NetworkJob().route(requests, { tolerate: true }).run();
  const found = split(replies[0]!).filter(({ type }) => type === RTM.newLink);
  return new Map(found.map(({ body }) => readLink(body)).map((link) => [link.name, link]));
}

export interface Route {
  family: 'ipv4' | 'ipv6';
  /** Absent for a default route. */
  destination?: Buffer;
  prefixLength: number;
  link: number;
  table: number;
}

/** All unicast routes of the daemon's namespace, every table's. */
export async function listRoutes(): Promise<Route[]> {
  const reply = await dump(message(RTM.getRoute, NLM_F.dump, Buffer.alloc(12), []));
  return split(reply)
    .filter((reply) => reply.type === RTM.newRoute && reply.body[7] === 1)
    .map(({ body }) => {
      const found = attributes(body.subarray(12));
      return {
        family: body[0] === AF.inet ? 'ipv4' : 'ipv6',
        destination: found.get(1),
        prefixLength: body[1]!,
        link: found.get(4)?.readUInt32LE(0) ?? 0,
        table: found.get(15)?.readUInt32LE(0) ?? body[4]!,
      };
    });
}

/**
 * A list that changes while it is read may lack entries, and is read again: not for ever, as on a busy host links come
 * and go all the time. Who has to know of one link asks for it by name.
 */
async function dump(request: Message, netns?: string): Promise<Buffer> {
  for (let attempt = 0; ; attempt++) {
    const job = new NetworkJob();
    if (netns !== undefined) job.enter(netns);
    try {
      return (await job.route([request], { tolerate: attempt === 10 }).run()).replies[0]!;
    } catch (error) {
      if (errnoOf(error) !== 'EINTR') throw error;
    }
  }
}

/** Deletes links by name, in one go; those that are gone already are fine. */
export async function deleteLinks(names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  await new NetworkJob().route(names.map(deleteLink), { tolerate: true }).run();
}

function newLink(flags: number, own: readonly Attribute[], options: LinkOptions): Message {
  return message(RTM.newLink, NLM_F.ack | flags, linkHeader(options), [...own, ...linkAttributes(options)]);
}

function linkHeader(options: LinkOptions): Buffer {
  const header = header16(AF.unspec);
  if (options.up !== undefined) {
    header.writeUInt32LE(options.up ? IFF_UP : 0, 8);
    header.writeUInt32LE(IFF_UP, 12);
  }
  return header;
}

function linkAttributes(options: LinkOptions): Attribute[] {
  const list: Attribute[] = [];
  if (options.mtu !== undefined) list.push(u32(IFLA.mtu, options.mtu));
  if (options.alias !== undefined) list.push(bytes(IFLA.alias, Buffer.from(options.alias)));
  if (options.mac !== undefined) list.push(bytes(IFLA.address, options.mac));
  if (options.master !== undefined) list.push(patched(IFLA.master, { ifindexOf: options.master }));
  return list;
}

/** struct ifinfomsg */
function header16(family: number): Buffer {
  const header = Buffer.alloc(16);
  header[0] = family;
  return header;
}

function broadcast(address: Buffer, prefixLength: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE((address.readUInt32BE(0) | (0xffffffff >>> prefixLength)) >>> 0);
  return out;
}

function readLink(body: Buffer): Link {
  const found = attributes(body.subarray(16));
  return {
    index: body.readUInt32LE(4),
    name: readText(found.get(IFLA.ifname)),
    kind: readText(attributes(found.get(IFLA.linkInfo) ?? Buffer.alloc(0)).get(1)),
    up: (body.readUInt32LE(8) & IFF_UP) !== 0,
    mtu: found.get(IFLA.mtu)?.readUInt32LE(0) ?? 0,
    mac: (found.get(IFLA.address)?.toString('hex') ?? '').replace(/(..)(?=.)/g, '$1:'),
    alias: readText(found.get(IFLA.alias)),
    master: found.get(IFLA.master)?.readUInt32LE(0) ?? 0,
    stats: readStats(found.get(IFLA.stats64)),
  };
}

/** struct rtnl_link_stats64 */
function readStats(data: Buffer | undefined): LinkStats {
  const at = (index: number): number => (data === undefined ? 0 : Number(data.readBigUInt64LE(index * 8)));
  return {
    rxPackets: at(0),
    txPackets: at(1),
    rxBytes: at(2),
    txBytes: at(3),
    rxErrors: at(4),
    txErrors: at(5),
    rxDropped: at(6),
    txDropped: at(7),
  };
}
