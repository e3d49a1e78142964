import { formatAddress } from '../lib/address.ts';
import { errnoOf, isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { RESOLVER_ADDRESS } from '../lib/resolver-address.ts';
import { Rollback } from '../lib/rollback.ts';
import {
  formatRecord,
  readPodLinks,
  recordOf,
  tapPrefix,
  type GuestRecord,
  type PodLinks,
} from './guest-record.ts';
import { guestRules, removeGuestRules, type GuestPort } from './guest-rules.ts';
import { deleteAddress, setNeighbour, setRoute } from './netlink-address.ts';
import { addAddress, deleteLink, moveLink, setLink, type Link } from './netlink.ts';
import { NetworkJob } from './network-job.ts';

/** One network interface of a guest with a kernel of its own, found in it by its address. */
export interface GuestLink {
  /** What the interface has, or gets before it is set up: see {@link bootAddress}. */
  macAddress: string;
  /** The address it was booted with, when that is another one (a guest that was booted before it had a network). */
  bootAddress?: string;
  name: string;
  mtu: number;
  /** CIDR, IPv4 and IPv6. An IPv6 address is added without duplicate address detection (IFA_F_NODAD). */
  addresses: string[];
  /** `gateway` absent: on the link. `table`: absent is the main one; all are unicast routes, whatever the table. */
  routes: { destination: string; gateway?: string; table?: number }[];
  /** Permanent ones. */
  neighbours: { address: string; macAddress: string }[];
  /** Its sysctls, such as `ipv4/conf/eth0/route_localnet` (below /proc/sys/net); set before it goes up. */
  sysctls: Record<string, string>;
}

/** A link whose other end the VM's monitor opens: `-netdev tap,ifname=TAP,script=no,downscript=no,vhost=off`. */
export interface WiredLink extends GuestLink {
  /**
   * A persistent tap in the pod's namespace with `vnet_hdr`. The `owner` may open it by name there without privileges:
   * its user namespace does not matter, but it needs a /dev/net/tun that it may read and write.
   */
  tap: string;
}

/**
 * Gives the pod's network to a guest, whose monitor runs as the host user `owner`: for each interface a tap, to which
 * all of its frames go (guest-rules.ts), and the namespace itself keeps no address. Between the network's attach and the
 * VM's start; again, and after a crash half-way, it finds what it did. Throws `unavailable` without /dev/net/tun.
 */
export async function wireGuest(netnsPath: string, { owner }: { owner: number }): Promise<WiredLink[]> {
  const pod = await readPodLinks(netnsPath);
  const wires = planWires(pod, owner);
  const isFresh = pod.taps.every(({ record }) => record.link === undefined);
  await using undo = new Rollback();
  if (isFresh) undo.add('wiring', () => unwireGuest(netnsPath));
  failpoint('guest.wire.before');
  await runWithTun(wiring(netnsPath, wires, pod));
  failpoint('guest.wire.after');
  undo.keep();
  return wires.map(guestLinkOf);
}

/** Gives the network back to the namespace itself; not wired, or no namespace, is fine. Needless before a detach. */
export async function unwireGuest(netnsPath: string): Promise<void> {
  const pod = await readPodLinks(netnsPath).catch(ignoreNoNamespace);
  if (pod === undefined) return;
  failpoint('guest.unwire.before');
  const job = new NetworkJob().enter(netnsPath).netfilter(removeGuestRules(), { tolerate: true });
  for (const { record } of pod.taps)
    if (pod.cables.some(({ name }) => name === record.link)) giveBack(job, record);
  await job
    .route(
      pod.taps.map(({ name }) => deleteLink(name)),
      { tolerate: true },
    )
    .run();
  failpoint('guest.unwire.after');
}

/** The address of the network card of a guest that is booted before it has a network. */
export const bootAddress = '02:49:53:4c:45:00';

/**
 * Makes the tap of a guest that is booted before it has a network: its card has {@link bootAddress}. The namespace at
 * `netnsPath` needs no more than to be. Returns the tap's name.
 */
export async function makeTap(netnsPath: string, { owner }: { owner: number }): Promise<string> {
  const tap = `${tapPrefix}0`;
  const alias = formatRecord({ owner, bootAddress, addresses: [], routes: [] });
  failpoint('guest.tap.before');
  await runWithTun(
    new NetworkJob()
      .enter(netnsPath)
      .tap(tap, owner)
      .route([setLink(tap, { alias })]),
  );
  failpoint('guest.tap.after');
  return tap;
}

/**
 * Brings the tap of {@link makeTap} to a pod's namespace, while the monitor holds it; {@link wireGuest} there takes it.
 * Done already is fine. Rejects with EEXIST when the pod's is wired.
 */
export async function moveTap(fromNetns: string, toNetns: string): Promise<void> {
  const from = await readPodLinks(fromNetns);
  failpoint('guest.move.before');
  await new NetworkJob()
    .enter(fromNetns)
    .target(toNetns)
    .route(from.taps.map(({ name }) => moveLink(name)))
    .run();
  failpoint('guest.move.after');
}

/** An interface, the tap to its guest, and what the guest gets of it. */
interface Wire {
  link: Link;
  tap: string;
  record: GuestRecord;
  /** The tap is to be made, or given to another owner. */
  make: boolean;
  /** The guest asks the resolver by it. */
  resolves: boolean;
}

function planWires(pod: PodLinks, owner: number): Wire[] {
  const used = new Set(pod.taps.map(({ name }) => name));
  const spare = pod.taps.filter(({ record }) => record.link === undefined && record.owner === owner);
  const resolving = pod.cables.find(({ name, index }) => hasIpv4(pod, name, index)) ?? pod.cables[0];
  return pod.cables.map((link) => {
    const resolves = link === resolving;
    const done = pod.taps.find(({ record }) => record.link === link.name);
    if (done) {
      const make = done.record.owner !== owner;
      return { link, tap: done.name, record: { ...done.record, owner }, make, resolves };
    }
    const record = recordOf(link, pod, owner);
    const taken = spare.shift();
    if (taken)
      return { link, tap: taken.name, record: { ...record, ...booted(taken.record) }, make: false, resolves };
    const tap = freeName(used);
    used.add(tap);
    return { link, tap, record, make: true, resolves };
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
function wiring(netnsPath: string, wires: Wire[], pod: PodLinks): NetworkJob {
  const job = new NetworkJob().enter(netnsPath);
  for (const { tap, record, make } of wires) {
    if (make) job.tap(tap, record.owner);
    job.route([setLink(tap, { alias: formatRecord(record) })]);
  }
  if (wires.length > 0) job.netfilter(guestRules(wires.map(portOf)));
  for (const wire of wires) {
    takeOver(job, wire, pod);
    if (wire.resolves) leadToResolver(job, wire);
  }
  return job;
}

function takeOver(job: NetworkJob, { link, tap }: Wire, pod: PodLinks): void {
  const own = pod.addresses.filter((address) => address.link === link.index);
  job.write(`/proc/sys/net/ipv6/conf/${link.name}/disable_ipv6`, '1', { optional: true });
  job.write(`/proc/sys/net/ipv6/conf/${tap}/disable_ipv6`, '1', { optional: true });
  // Those of IPv6 went with it.
  const ipv4 = own.filter(({ address }) => address.length === 4);
  job.route([
    ...ipv4.map(({ address, prefixLength }) => deleteAddress(link.name, address, prefixLength)),
    setLink(tap, { up: true, mtu: link.mtu, mac: resolverMac(link) }),
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

function giveBack(job: NetworkJob, { link, addresses, routes }: GuestRecord): void {
  const ipv6 = addresses.some(({ address }) => address.length === 16);
  if (ipv6) job.write(`/proc/sys/net/ipv6/conf/${link}/disable_ipv6`, '0');
  job.route([
    ...addresses.map(({ address, prefixLength }) => addAddress(link!, address, prefixLength)),
    ...routes.map((route) => setRoute(link!, route)),
  ]);
}

function portOf({ link, tap, record, resolves }: Wire): GuestPort {
  return {
    link: link.name,
    tap,
    mac: macBytes(link.mac),
    addresses: record.addresses.map(({ address }) => address),
    resolverClient: resolves ? resolverClient(record) : undefined,
  };
}

function guestLinkOf({ link, tap, record, resolves }: Wire): WiredLink {
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
  guest.neighbours.push({ address: RESOLVER_ADDRESS, macAddress: macText(resolverMac(link)) });
}

/** The address of a guest on networks of IPv6 alone, towards the resolver and nobody else. */
const lonelyClient = Buffer.from([169, 254, 0, 2]);

function resolverClient({ addresses }: GuestRecord): Buffer {
  return addresses.find(({ address }) => address.length === 4)?.address ?? lonelyClient;
}

/** The namespace's own address on the tap: the guest's with another bit set, so that it is none of its neighbours'. */
function resolverMac({ mac }: Link): Buffer {
  const bytes = macBytes(mac);
  bytes[0]! ^= 4;
  return bytes;
}

function macBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

function macText(bytes: Buffer): string {
  return bytes.toString('hex').match(/../g)!.join(':');
}

async function runWithTun(job: NetworkJob): Promise<void> {
  try {
    await job.run();
  } catch (error) {
    const where = '/dev/net/tun';
    if (!String(error).includes(where)) throw error;
    const message = `${where} cannot be opened (${errnoOf(error)}): a microVM's network needs the kernel module tun (modprobe tun)`;
    throw isleError('unavailable', { message }, error);
  }
}

function ignoreNoNamespace(error: unknown): undefined {
  if (!['ENOENT', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
}
