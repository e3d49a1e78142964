import { addAddress, addVeth, setDefaultRoute, setLink, setNoIpv6Address, setPort } from '../host/netlink.ts';
import type { NetworkJob } from '../host/network-job.ts';
import { parseAddress } from '../lib/address.ts';

/** A pod's connection to a bridge: a veth pair, addresses inside. */
export interface Cable {
  hostLink: string;
  bridge: string;
  mtu: number;
  /** May not talk to other ports of the bridge (`enable_icc=false`). */
  isolated: boolean;
  interfaceName: string;
  macAddress: string;
  ipv4?: { address: string; prefixLength: number };
  ipv6?: { address: string; prefixLength: number };
}

/** Lays the cable from the host into the job's inner namespace, and stays there. */
export function layCable(job: NetworkJob, cable: Cable): NetworkJob {
  const { hostLink, interfaceName, mtu } = cable;
  const mac = Buffer.from(cable.macAddress.replaceAll(':', ''), 'hex');
  job
    .host()
    .route([
      addVeth(hostLink, { master: cable.bridge, mtu }, { name: interfaceName, inner: true, mac, mtu }),
    ]);
  // A host whose kernel has no IPv6 refuses this, and needs it not.
  job.route([setNoIpv6Address(hostLink)], { tolerate: true });
  // Hairpin: where the host filters bridged packets (br_netfilter), a pod that calls its own published port is led
  // back to itself without leaving the bridge.
  job.route([
    setPort(hostLink, { isolated: cable.isolated, hairpin: true }),
    setLink(hostLink, { up: true }),
  ]);
  job.inner();
  if (cable.ipv6) {
    job.write('/proc/sys/net/ipv6/conf/lo/disable_ipv6', '0');
    // Its router is the one on record: a neighbour that advertises itself is none.
    job.write(`/proc/sys/net/ipv6/conf/${interfaceName}/accept_ra`, '0');
    job.write(`/proc/sys/net/ipv6/conf/${interfaceName}/disable_ipv6`, '0');
  }
  const addresses = [cable.ipv4, cable.ipv6].filter((one) => one !== undefined);
  return job.route([
    setLink(interfaceName, { up: true }),
    ...addresses.map(({ address, prefixLength }) =>
      addAddress(interfaceName, parseAddress(address)!, prefixLength),
    ),
  ]);
}

/** A fresh namespace at `path`: loopback up; no IPv6 until a network of the pod has it (CVE-2024-32473). */
export function openNamespace(
  job: NetworkJob,
  path: string,
  options: { ownUser?: boolean } = {},
): NetworkJob {
  return job
    .create(path, options)
    .write('/proc/sys/net/ipv6/conf/all/disable_ipv6', '1', { optional: true })
    .write('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1', { optional: true })
    .route([setLink('lo', { up: true })]);
}

export function routeThrough(
  job: NetworkJob,
  interfaceName: string,
  gateways: readonly string[],
): NetworkJob {
  return job.route(gateways.map((gateway) => setDefaultRoute(parseAddress(gateway)!, interfaceName)));
}

/** As Docker makes them: 02:42 and the IPv4 address, so that a reused address keeps its neighbours' caches right. */
export function macFor(address: string): string {
  const bytes = parseAddress(address)!;
  const tail = bytes.subarray(bytes.length - 4);
  return `02:42:${tail.toString('hex').match(/../g)!.join(':')}`;
}
