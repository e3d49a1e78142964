import { join } from 'node:path';
import type { Logger } from '../lib/log.ts';
import { RESOLVER_ADDRESS } from '../lib/resolver-address.ts';
import type { Store } from '../lib/table.ts';
import { isLoopback, parseAddress } from '../lib/address.ts';
import type { NetworkConfig } from './config.ts';
import { Names } from './dns/names.ts';
import { Resolver } from './dns/resolver.ts';
import type { Upstream } from './dns/upstream.ts';
import { upstreamServers, type FileContext } from './files.ts';
import { Firewall } from './firewall.ts';
import { Guests } from './guests.ts';
import { HostResolver } from './host-resolver.ts';
import { Networks } from './networks.ts';
import { PodResolvers } from './pod-resolvers.ts';
import { Pods } from './pods.ts';
import { Ports } from './ports.ts';
import { Publisher } from './publisher.ts';
import { openRecords, type Records, type StoredPod } from './records.ts';
import { Slots } from './slots.ts';
import { Withdrawals } from './withdrawals.ts';

export interface PartsOptions {
  store: Store;
  instance: string;
  log: Logger;
  config: NetworkConfig;
  /** Where the namespaces' files are. */
  directory: string;
  /** MTU of networks that say none, and whether the host has IPv6. */
  host: { mtu: number; ipv6: boolean };
}

/** What the room consists of, linked together. */
export interface Parts {
  records: Records;
  networks: Networks;
  firewall: Firewall;
  ports: Ports;
  resolver: Resolver;
  guests: Guests;
  slots: Slots;
  withdrawals: Withdrawals;
  pods: Pods;
}

export function createParts(options: PartsOptions): Parts {
  const { store, instance, log, config, directory, host } = options;
  const records = openRecords(store);
  const networks = new Networks({ records, config, instance });
  const firewall = new Firewall({ table: instance, log });
  const ports = new Ports({ nameOf: (podId) => records.pods.get(podId)?.request.name, log });
  const names = new Names();
  const fileContext = contextOf(networks, config);
  const resolver = createResolver({ records, networks, names, fileContext, directory, log });
  const slots = new Slots({ networks, directory, instance, host, size: config.pool ?? 6, log });
  const withdrawals = new Withdrawals({ networks, firewall, ports, directory, log });
  const publisher = new Publisher({ records, networks, firewall, ports, withdrawals, host });
  const resolvers = new PodResolvers({ records, resolver, fileContext, directory });
  const guests = new Guests({
    networks,
    resolver,
    fileContext,
    directory,
    tookIpv6: (podId, interfaceName) => pods.guestTookIpv6(podId, interfaceName),
    log,
  });
  const pods: Pods = new Pods({
    records,
    networks,
    publisher,
    ports,
    names,
    resolver,
    resolvers,
    guests,
    slots,
    withdrawals,
    fileContext,
    directory,
    instance,
    host,
  });
  return { records, networks, firewall, ports, resolver, guests, slots, withdrawals, pods };
}

function contextOf(networks: Networks, config: NetworkConfig): () => FileContext {
  const hostResolver = new HostResolver();
  return () => {
    const { ipv4, ipv6 } = networks.builtIn('bridge');
    const gateways = [ipv4?.gateway, ipv6?.gateway].filter((one) => one !== undefined);
    return { config, host: hostResolver.current(), gateways };
  };
}

function createResolver({
  records,
  networks,
  names,
  fileContext,
  directory,
  log,
}: {
  records: Records;
  networks: Networks;
  names: Names;
  fileContext: () => FileContext;
  directory: string;
  log: Logger;
}): Resolver {
  return new Resolver({
    names,
    log,
    upstreams: (podId) => {
      const pod = records.pods.get(podId);
      const leadsOut = pod?.endpoints.some(({ networkId }) => !networks.find(networkId)?.record.internal);
      return pod && leadsOut ? upstreamsOf(pod, fileContext(), directory) : [];
    },
    domainOf: (podId) => {
      const pod = records.pods.get(podId);
      return pod?.guest ? pod.request.domainname : '';
    },
    inSubnet: (networkId, address) => {
      const network = networks.find(networkId);
      const bytes = parseAddress(address);
      return bytes !== undefined && [network?.ipv4, network?.ipv6].some((one) => one?.contains(bytes));
    },
  });
}

/** A loopback address that the user gave means the pod's own; the resolver's own would ask in a circle. */
function upstreamsOf(pod: StoredPod, context: FileContext, directory: string): Upstream[] {
  return upstreamServers(pod, context).flatMap((address): Upstream[] => {
    if (!isLoopback(address) || !pod.request.dns.includes(address)) return [{ address }];
    return address === RESOLVER_ADDRESS ? [] : [{ address, netns: join(directory, pod.namespace) }];
  });
}
