import { formatAddress } from '../lib/address.ts';
import { RESOLVER_ADDRESS } from '../lib/resolver-address.ts';
import type { GuestLink, WiredLink } from './guest-link.ts';
import { formatRecord, recordOf, tapPrefix, type GuestRecord, type PodLinks } from './guest-record.ts';
import { guestRules, type GuestPort } from './guest-rules.ts';
import { deleteAddress, setNeighbour, setRoute } from './netlink-address.ts';
import { setLink, type Link } from './netlink.ts';
import { NetworkJob } from './network-job.ts';

/** An interface, the tap to its guest, and what the guest gets of it. */
export interface Wire {
  link: Link;
  tap: string;
  record: GuestRecord;
  /** The tap is to be made, or given to another owner. */
  make: boolean;
  /** The guest asks the resolver by it, at a loopback address. */
  resolves: boolean;
  /** The guest asks for its configuration by it. */
  configuresItself: boolean;
}

export function planWires(
  pod: PodLinks,
  { owner, configuresItself = false }: { owner: number; configuresItself?: boolean },
): Wire[] {
  const used = new Set(pod.taps.map(({ name }) => name));
  const spare = pod.taps.filter(({ record }) => record.link === undefined && record.owner === owner);
  const resolving = pod.cables.find(({ name, index }) => hasIpv4(pod, name, index)) ?? pod.cables[0];
  return pod.cables.map((link) => {
    const resolves = link === resolving && !configuresItself;
    const done = pod.taps.find(({ record }) => record.link === link.name);
    if (done) {
      const make = done.record.owner !== owner;
      return { link, tap: done.name, record: { ...done.record, owner }, make, resolves, configuresItself };
    }
    const record = recordOf(link, pod, owner);
    const taken = spare.shift();
    if (taken)
      return {
        link,
        tap: taken.name,
        record: { ...record, ...booted(taken.record) },
        make: false,
        resolves,
        configuresItself,
      };
    const tap = freeName(used);
    used.add(tap);
    return { link, tap, record, make: true, resolves, configuresItself };
  });
}

function booted({ bootAddress: address }: GuestRecord): { bootAddress?: string } {
  return { bootAddress: address };
}

function hasIpv4(pod: PodLinks, name: string, index: number): boolean {
  const recorded = pod.taps.find(({ record }) => record.link === name)?.record.addresses;
  const addresses = recorded ?? pod.addresses.filter(({ link }) => link === index);
  return addresses.some(({ address }) => address.length === 4);
}

function freeName(used: ReadonlySet<string>): string {
  for (let number = 0; ; number++) if (!used.has(`${tapPrefix}${number}`)) return `${tapPrefix}${number}`;
}

/** Nothing leaves the interface before the tap's alias remembers it. */
export function wiring(
  netnsPath: string,
  wires: Wire[],
  pod: PodLinks,
  { replace }: { replace: boolean },
): NetworkJob {
  const job = new NetworkJob().enter(netnsPath);
  for (const { tap, record, make } of wires) {
    if (make) job.tap(tap, record.owner);
    job.route([setLink(tap, { alias: formatRecord(record) })]);
  }
  if (wires.length > 0) job.netfilter(guestRules(wires.map(portOf), replace));
  for (const wire of wires) {
    takeOver(job, wire, pod);
    if (wire.resolves) leadToResolver(job, wire);
  }
  return job;
}

function takeOver(job: NetworkJob, { link, tap, configuresItself }: Wire, pod: PodLinks): void {
  const own = pod.addresses.filter((address) => address.link === link.index);
  job.write(`/proc/sys/net/ipv6/conf/${link.name}/disable_ipv6`, '1', { optional: true });
  // The services of a guest that configures itself (guest-services.ts) are there by IPv6, too.
  if (!configuresItself) job.write(`/proc/sys/net/ipv6/conf/${tap}/disable_ipv6`, '1', { optional: true });
  // Those of IPv6 went with it.
  const ipv4 = own.filter(({ address }) => address.length === 4);
  job.route([
    ...ipv4.map(({ address, prefixLength }) => deleteAddress(link.name, address, prefixLength)),
    setLink(tap, { up: true, mtu: link.mtu, mac: tapMac(link.mac) }),
  ]);
}

/** The namespace reaches the guest by the tap, to answer what the rules let in. */
function leadToResolver(job: NetworkJob, { link, tap, record }: Wire): void {
  const client = resolverClient(record);
  job.write(`/proc/sys/net/ipv4/conf/${tap}/route_localnet`, '1');
  job.route([
    setRoute(tap, { destination: client, prefixLength: 32 }),
    setNeighbour(tap, client, macBytes(link.mac)),
  ]);
}

function portOf({ link, tap, record, resolves, configuresItself }: Wire): GuestPort {
  return {
    link: link.name,
    tap,
    mac: macBytes(link.mac),
    addresses: record.addresses.map(({ address }) => address),
    resolverClient: resolves ? resolverClient(record) : undefined,
    configuresItself,
  };
}

export function wiredLinkOf({ link, tap, record, resolves }: Wire): WiredLink {
  const { name, mac, mtu } = link;
  const cidr = (address: Buffer, prefixLength: number): string => `${formatAddress(address)}/${prefixLength}`;
  const hasIpv6 = record.addresses.some(({ address }) => address.length === 16);
  const guest: WiredLink = {
    macAddress: mac,
    name,
    mtu,
    addresses: record.addresses.map(({ address, prefixLength }) => cidr(address, prefixLength)),
    routes: record.routes.map(({ destination, prefixLength, gateway }) => ({
      destination: cidr(destination ?? Buffer.alloc(gateway!.length), prefixLength),
      ...(gateway ? { gateway: formatAddress(gateway) } : {}),
    })),
    neighbours: [],
    sysctls: {
      [`ipv6/conf/${name}/accept_ra`]: '0',
      [`ipv6/conf/${name}/disable_ipv6`]: hasIpv6 ? '0' : '1',
    },
    tap,
  };
  if (record.bootAddress && record.bootAddress !== mac) guest.bootAddress = record.bootAddress;
  if (resolves) addResolver(guest, link, record);
  return guest;
}

/** To the guest's kernel the resolver is a station on the link that has a loopback address. */
function addResolver(guest: GuestLink, link: Link, record: GuestRecord): void {
  const LOCAL_TABLE = 255;
  const client = formatAddress(resolverClient(record));
  if (client === formatAddress(lonelyClient)) guest.addresses.push(`${client}/32`);
  guest.sysctls[`ipv4/conf/${link.name}/route_localnet`] = '1';
  guest.routes.push({ destination: `${RESOLVER_ADDRESS}/32`, table: LOCAL_TABLE });
  guest.neighbours.push({ address: RESOLVER_ADDRESS, macAddress: macText(tapMac(link.mac)) });
}

/** The address of a guest on networks of IPv6 alone, towards the resolver and nobody else. */
const lonelyClient = Buffer.from([169, 254, 0, 2]);

function resolverClient({ addresses }: GuestRecord): Buffer {
  return addresses.find(({ address }) => address.length === 4)?.address ?? lonelyClient;
}

/** The namespace's own address on the tap: the guest's with another bit set, so that it is none of its neighbours'. */
export function tapMac(mac: string): Buffer {
  const bytes = macBytes(mac);
  bytes[0]! ^= 4;
  return bytes;
}

export function macBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

function macText(bytes: Buffer): string {
  return bytes.toString('hex').match(/../g)!.join(':');
}
