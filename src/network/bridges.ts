import { readFile } from 'node:fs/promises';
import {
  addAddress,
  addBridge,
  deleteLinks,
  listLinks,
  listRoutes,
  setLink,
  setNoIpv6Address,
  type Route,
} from '../host/netlink.ts';
import { NetworkJob } from '../host/network-job.ts';
import { failpoint } from '../lib/failpoint.ts';
import { parseAddress, subnetOf, type Subnet } from '../lib/address.ts';

/** A bridge as it should be. */
export interface Bridge {
  name: string;
  /** Whose it is: what carries it and is in no record is a leftover. */
  alias: string;
  mtu: number;
  /** The host's addresses in the network. */
  addresses: { address: string; prefixLength: number }[];
}

/**
 * Makes the bridge and lets packets through it: forwarding is on for the whole host, because the kernel asks the
 * interface a packet comes in by, and answers come in by the host's own. Rejects with EEXIST when the name is taken.
 */
export async function createBridge(bridge: Bridge): Promise<void> {
  failpoint('network.bridge.before');
  const job = new NetworkJob().route([addBridge(bridge.name, { mac: macOf(bridge.name) })]);
  if (hasIpv6(bridge)) await keepRouterAdvertisements(job);
  configure(job, bridge);
  await job.run();
  failpoint('network.bridge.after');
}

/** Brings an existing bridge into its state. */
export async function repairBridge(bridge: Bridge): Promise<void> {
  const job = new NetworkJob();
  configure(job, bridge);
  await job.run();
}

export async function removeBridges(names: readonly string[]): Promise<void> {
  failpoint('network.unbridge.before');
  await deleteLinks(names);
  failpoint('network.unbridge.after');
}

/**
 * A host that forwards IPv6 stops listening to router advertisements, and so would lose the default route it has from
 * one: 2 says to listen nevertheless.
 */
async function keepRouterAdvertisements(job: NetworkJob): Promise<void> {
  const forwarding = await readFile('/proc/sys/net/ipv6/conf/all/forwarding', 'latin1').catch(() => '1');
  if (forwarding.trim() !== '0') return;
  const [routes, links] = await Promise.all([listRoutes(), listLinks()]);
  const uplinks = routes.filter((route) => route.family === 'ipv6' && route.prefixLength === 0);
  for (const { name } of links.filter((link) => uplinks.some((route) => route.link === link.index))) {
    const file = `/proc/sys/net/ipv6/conf/${name}/accept_ra`;
    if ((await readFile(file, 'latin1').catch(() => '')).trim() === '1') job.write(file, '2');
  }
}

function hasIpv6({ addresses }: Bridge): boolean {
  return addresses.some(({ address }) => address.includes(':'));
}

function configure(job: NetworkJob, bridge: Bridge): void {
  const { name, addresses } = bridge;
  const ipv6 = hasIpv6(bridge);
  if (!ipv6) job.route([setNoIpv6Address(name)], { tolerate: true });
  // On a host that does not forward IPv6 a container could else make itself the host's router (CVE-2020-13401).
  job.write(`/proc/sys/net/ipv6/conf/${name}/accept_ra`, '0', { optional: true });
  job.route([
    // Set, not given at its making: then it stays when ports of another size are plugged in.
    setLink(name, { mtu: bridge.mtu, alias: bridge.alias, up: true }),
    ...addresses.map(({ address, prefixLength }) => addAddress(name, parseAddress(address)!, prefixLength)),
  ]);
  // Lets the host's 127.0.0.1 reach published ports; the table's guard chain keeps everyone else from using it.
  job.write(`/proc/sys/net/ipv4/conf/${name}/route_localnet`, '1');
  job.write('/proc/sys/net/ipv4/ip_forward', '1');
  if (ipv6) job.write('/proc/sys/net/ipv6/conf/all/forwarding', '1');
}

/** Subnets the host has routes to, other than through `ownLinks`. */
export async function hostSubnets(ownLinks: ReadonlySet<string>): Promise<Subnet[]> {
  const [routes, links] = await Promise.all([listRoutes(), listLinks()]);
  const own = new Set(links.filter((link) => ownLinks.has(link.name)).map((link) => link.index));
  return routes.filter((route) => !own.has(route.link)).flatMap(subnetOfRoute);
}

/** The MTU for new networks: the uplink's, so that nothing has to be fragmented; at most 1500. */
export async function uplinkMtu(): Promise<number> {
  const [routes, links] = await Promise.all([listRoutes(), listLinks()]);
  const uplink = routes.find(
    (route) => route.prefixLength === 0 && route.link !== 0 && route.family === 'ipv4',
  );
  const mtu = links.find((link) => link.index === uplink?.link)?.mtu ?? 1500;
  return mtu >= 1280 && mtu < 1500 ? mtu : 1500;
}

/** Whether the host has IPv6 at all. */
export async function hostHasIpv6(): Promise<boolean> {
  const table = await readFile('/proc/net/if_inet6', 'latin1').catch(() => '');
  return table !== '';
}

/** A bridge whose address followed its ports' would make pods ask for it again; so it has its own, made of its name. */
function macOf(name: string): Buffer {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  const mac = Buffer.from('024200000000', 'hex');
  mac.writeInt32BE(hash, 2);
  return mac;
}

function subnetOfRoute({ destination, prefixLength }: Route): Subnet[] {
  return destination === undefined || prefixLength === 0 ? [] : [subnetOf(destination, prefixLength)];
}
