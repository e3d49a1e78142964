import { join } from 'node:path';
import type { EndpointSpec } from '../engine/model.ts';
import { NetworkJob } from '../host/network-job.ts';
import { deleteLink, listLinks } from '../host/netlink.ts';
import { isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { Rollback } from '../lib/rollback.ts';
import { checkRequest, kindOf, type WantedEndpoint } from './attach-request.ts';
import { layCable, routeThrough } from './cable.ts';
import type { Names } from './dns/names.ts';
import type { Resolver } from './dns/resolver.ts';
import {
  allocateEndpoint,
  bareEndpoint,
  cableOf,
  checkEndpointSpec,
  defaultRoutes,
  dnsNames,
  releaseEndpoint,
  targetOf,
} from './endpoints.ts';
import type { Guests } from './guests.ts';
import { renderFiles, type FileContext } from './files.ts';
import type { Slot } from './namespace-pool.ts';
import type { AttachRequest, Attachment, Endpoint, InterfaceStats } from './network.ts';
import type { LiveNetwork, Networks } from './networks.ts';
import type { Ports } from './ports.ts';
import type { PodResolvers } from './pod-resolvers.ts';
import type { Publisher } from './publisher.ts';
import type { Records, StoredEndpoint, StoredPod } from './records.ts';
import type { Slots } from './slots.ts';
import type { Withdrawals } from './withdrawals.ts';

export interface PodsOptions {
  records: Records;
  networks: Networks;
  publisher: Publisher;
  ports: Ports;
  names: Names;
  resolver: Resolver;
  resolvers: PodResolvers;
  guests: Guests;
  slots: Slots;
  withdrawals: Withdrawals;
  /** What the pods' files are made from, as it is now. */
  fileContext: () => FileContext;
  /** Where the namespaces' files are. */
  directory: string;
  instance: string;
  /** MTU of networks that say none. */
  host: { mtu: number };
}

/** Pods and their endpoints: what `attach` gives and `detach` takes. */
export class Pods {
  readonly #options: PodsOptions;
  readonly #arriving = new Set<string>();

  constructor(options: PodsOptions) {
    this.#options = options;
  }

  async attach(podId: string, request: AttachRequest): Promise<Attachment> {
    if (this.#options.records.pods.get(podId) || this.#arriving.has(podId))
      throw isleError('conflict', { message: `pod ${podId} has a network already` });
    this.#arriving.add(podId);
    try {
      return await this.#attach(podId, request);
    } finally {
      this.#arriving.delete(podId);
    }
  }

  async #attach(podId: string, request: AttachRequest): Promise<Attachment> {
    const { networks } = this.#options;
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(podId))
      throw isleError('invalidName', { kind: 'pod', name: podId });
    const wanted = request.networks.map(({ network, endpoint }) => ({
      network: networks.get(network),
      spec: endpoint,
    }));
    checkRequest(request, wanted);
    await this.#options.publisher.waitForLeaving(
      request.ports,
      wanted.map(({ spec }) => spec),
    );
    for (const { spec } of wanted) if (spec.returning) await this.#makeRoom(spec);
    await using undo = new Rollback();
    const pod = await this.#lay(podId, request, wanted, undo);
    const files = renderFiles(pod, this.#options.fileContext());
    const ports = await this.#options.publisher.publish(pod, undo);
    this.#options.names.set(podId, namedEndpoints(pod));
    undo.keep();
    return { ...attachmentOf({ ...pod, ports }, this.#options.directory), ...files };
  }

  async connect(podId: string, networkId: string, spec: EndpointSpec): Promise<Endpoint> {
    const { records, networks, directory, instance, host } = this.#options;
    const pod = this.#get(podId);
    const network = networks.get(networkId);
    this.#refuseConnect(pod, network);
    checkEndpointSpec(network, spec);
    await this.#options.publisher.waitForLeaving([], [spec]);
    const own = { instance, taken: pod.endpoints };
    const endpoint = allocateEndpoint(network, podId, pod.request, spec, own);
    await using undo = new Rollback();
    undo.add('address', () => releaseEndpoint(network, endpoint));
    const next: StoredPod = { ...pod, endpoints: [...pod.endpoints, endpoint] };
    records.pods.put(podId, next);
    undo.add('record', () => records.pods.put(podId, pod));
    failpoint('network.connect.before');
    const job = new NetworkJob().enter(join(directory, pod.namespace));
    layCable(job, cableOf(network, endpoint, host.mtu));
    // A guest has the other interfaces' addresses: it is told of its routes by DHCP.
    for (const { interfaceName, gateway } of defaultRoutes(next.endpoints))
      if (!pod.guest || interfaceName === endpoint.interfaceName) routeThrough(job, interfaceName, [gateway]);
    undo.add('cable', () =>
      new NetworkJob().route([deleteLink(endpoint.hostLink)], { tolerate: true }).run(),
    );
    await job.run();
    failpoint('network.connect.after');
    await this.#options.resolvers.ensure(next, undo);
    await this.#options.publisher.republish(pod, next);
    undo.keep();
    this.#options.names.set(podId, namedEndpoints(next));
    return publicEndpoint(endpoint);
  }

  async disconnect(podId: string, networkId: string): Promise<void> {
    const { records, networks, names, publisher } = this.#options;
    const pod = this.#get(podId);
    const network = networks.get(networkId);
    const endpoint = pod.endpoints.find((one) => one.networkId === network.record.id);
    if (endpoint === undefined)
      throw isleError('conflict', {
        message: `container ${pod.request.name} is not connected to network ${network.record.name}`,
      });
    const next: StoredPod = {
      ...pod,
      endpoints: pod.endpoints.filter((one) => one !== endpoint),
      ...(pod.tookIpv6 && { tookIpv6: pod.tookIpv6.filter((name) => name !== endpoint.interfaceName) }),
    };
    await using undo = new Rollback();
    names.set(podId, namedEndpoints(next));
    undo.add('names', () => names.set(podId, namedEndpoints(pod)));
    await publisher.republish(pod, next);
    const { ports } = this.#get(podId);
    records.pods.put(podId, { ...next, ports });
    undo.add('record', () => records.pods.put(podId, { ...pod, ports }));
    failpoint('network.disconnect.before');
    await this.#unplug(next, endpoint);
    undo.keep();
    releaseEndpoint(network, endpoint);
    failpoint('network.disconnect.after');
  }

  async #unplug(pod: StoredPod, { hostLink }: StoredEndpoint): Promise<void> {
    if (hostLink === '') return;
    const job = new NetworkJob().route([deleteLink(hostLink)], { tolerate: true });
    job.enter(join(this.#options.directory, pod.namespace));
    for (const { interfaceName, gateway } of pod.guest ? [] : defaultRoutes(pod.endpoints))
      routeThrough(job, interfaceName, [gateway]);
    await job.run();
  }

  async serveGuest(podId: string): Promise<void> {
    const { records, names, guests } = this.#options;
    const pod = this.#get(podId);
    if (pod.namespace === '') return;
    if (!pod.guest) {
      records.pods.put(podId, { ...pod, guest: true });
      names.set(podId, namedEndpoints({ ...pod, guest: true }));
    }
    await guests.serve(podId, () => records.pods.get(podId));
  }

  /** From now on the guest is found by that address, too. */
  guestTookIpv6(podId: string, interfaceName: string): void {
    const { records, names } = this.#options;
    const pod = records.pods.get(podId);
    if (pod === undefined || pod.tookIpv6?.includes(interfaceName)) return;
    const next = { ...pod, tookIpv6: [...(pod.tookIpv6 ?? []), interfaceName] };
    records.pods.put(podId, next);
    names.set(podId, namedEndpoints(next));
  }

  /** The pod is gone when this resolves; what the kernel has of it goes in the background. */
  async detach(podId: string): Promise<void> {
    const { records, names, guests, resolver, withdrawals } = this.#options;
    const pod = records.pods.get(podId);
    if (pod === undefined) return;
    names.delete(podId);
    guests.stop(podId);
    resolver.stop(podId);
    failpoint('network.forget.before');
    records.pods.delete(podId);
    withdrawals.start(pod);
    failpoint('network.forget.after');
  }

  attachment(podId: string): Attachment | undefined {
    const pod = this.#options.records.pods.get(podId);
    if (pod === undefined) return undefined;
    return {
      ...attachmentOf(pod, this.#options.directory),
      ...renderFiles(pod, this.#options.fileContext()),
    };
  }

  async stats(podId: string): Promise<Record<string, InterfaceStats>> {
    const pod = this.#get(podId);
    if (pod.namespace === '') return {};
    const links = await listLinks(join(this.#options.directory, pod.namespace));
    const names = new Set(pod.endpoints.map((endpoint) => endpoint.interfaceName));
    return Object.fromEntries(
      links.filter(({ name }) => names.has(name)).map(({ name, stats }) => [name, stats]),
    );
  }

  rename(podId: string, name: string): void {
    const { records, names } = this.#options;
    const pod = records.pods.get(podId);
    if (pod === undefined) return;
    const request = { ...pod.request, name };
    const endpoints = pod.endpoints.map((endpoint) =>
      endpoint.dnsNames.length === 0
        ? endpoint
        : { ...endpoint, dnsNames: dnsNames(podId, request, endpoint.aliases) },
    );
    const renamed = { ...pod, request, endpoints };
    records.pods.put(podId, renamed);
    names.set(podId, namedEndpoints(renamed));
  }

  /** After a restart, for a pod that runs: what lives in this process is made anew, the rest is there. */
  async resume(pod: StoredPod): Promise<void> {
    const { names, ports } = this.#options;
    names.set(pod.podId, namedEndpoints(pod));
    const target = targetOf(pod);
    await Promise.all([
      this.#options.resolvers.resume(pod),
      target && pod.ports.length > 0 ? ports.resume(pod.podId, pod.ports, target) : undefined,
      pod.guest ? this.serveGuest(pod.podId) : undefined,
    ]);
  }

  /** Namespace, endpoints and record. */
  async #lay(
    podId: string,
    request: AttachRequest,
    wanted: WantedEndpoint[],
    undo: Rollback,
  ): Promise<StoredPod> {
    const { records, directory, host, resolver } = this.#options;
    const isHost = wanted.some(({ network }) => network.record.driver === 'host');
    const ownUser = request.ownUser ?? false;
    const slot = isHost ? undefined : await this.#options.slots.take({ kind: kindOf(wanted), ownUser });
    if (slot) undo.add('namespace', () => this.#discard(slot));
    // A network may have been removed while a namespace was made.
    for (const { network } of wanted) this.#options.networks.get(network.record.id);
    const endpoints: StoredEndpoint[] = [];
    for (const { network, spec } of wanted)
      endpoints.push(this.#endpoint(podId, request, network, spec, endpoints, slot, undo));
    const pod: StoredPod = { podId, namespace: slot?.namespace ?? '', request, endpoints, ports: [] };
    if (slot?.resolver) {
      pod.dnsPort = slot.resolver.port;
      resolver.serve(podId, slot.resolver);
      undo.add('resolver', () => resolver.stop(podId));
    }
    records.pods.put(podId, pod);
    undo.add('record', () => records.pods.delete(podId));
    const missing = endpoints.filter(
      ({ hostLink }) => hostLink !== '' && !slot?.hostLinks.includes(hostLink),
    );
    if (slot && missing.length > 0) {
      failpoint('network.attach.before');
      const job = new NetworkJob().enter(join(directory, slot.namespace));
      for (const endpoint of missing)
        layCable(job, cableOf(this.#options.networks.get(endpoint.networkId), endpoint, host.mtu));
      for (const { interfaceName, gateway } of defaultRoutes(endpoints))
        routeThrough(job, interfaceName, [gateway]);
      await job.run();
      failpoint('network.attach.after');
    }
    await this.#options.resolvers.ensure(pod, undo);
    return records.pods.get(podId)!;
  }

  #endpoint(
    podId: string,
    request: AttachRequest,
    network: LiveNetwork,
    spec: EndpointSpec,
    taken: readonly StoredEndpoint[],
    slot: Slot | undefined,
    undo: Rollback,
  ): StoredEndpoint {
    if (network.record.driver !== 'bridge') return bareEndpoint(network, spec);
    const isPrepared = slot?.hostLinks[0] !== undefined && network.record.builtIn && !spec.macAddress;
    const prepared = isPrepared
      ? { ipv4: slot.ipv4, ipv6: slot.ipv6, hostLink: slot.hostLinks[0]! }
      : undefined;
    const endpoint = allocateEndpoint(network, podId, request, spec, {
      instance: this.#options.instance,
      taken,
      prepared,
    });
    // The address of a prepared endpoint goes back with its slot.
    if (!prepared) undo.add('address', () => releaseEndpoint(network, endpoint));
    return endpoint;
  }

  /** A namespace that was prepared for nobody gives way to a guest that had its address before. */
  async #makeRoom({ ipv4Address, ipv6Address }: EndpointSpec): Promise<void> {
    for (const address of [ipv4Address, ipv6Address]) {
      const slot = address === undefined ? undefined : this.#options.slots.takeWith(address);
      if (slot) await this.#discard(slot);
    }
  }

  async #discard(slot: Slot): Promise<void> {
    const { slots, directory } = this.#options;
    await new NetworkJob()
      .route(slot.hostLinks.map(deleteLink), { tolerate: true })
      .remove(join(directory, slot.namespace))
      .run();
    slots.release({ ...slot, resolver: undefined });
  }

  #refuseConnect(pod: StoredPod, network: LiveNetwork): void {
    const { record } = network;
    if (record.driver === 'host' || pod.namespace === '')
      throw isleError('conflict', {
        message: 'container cannot be connected to or disconnected from host network',
      });
    if (record.driver === 'null')
      throw isleError('conflict', { message: 'container cannot be connected to network none while it runs' });
    if (pod.endpoints.some((endpoint) => endpoint.networkId === record.id))
      throw isleError('conflict', {
        message: `endpoint with name ${pod.request.name} already exists in network ${record.name}`,
      });
  }

  #get(podId: string): StoredPod {
    const pod = this.#options.records.pods.get(podId);
    if (pod === undefined)
      throw isleError('conflict', { message: `pod ${podId} has no network: it is not running` });
    return pod;
  }
}

/** With the addresses that are there: of a guest's, IPv6 only once it has asked for it. */
function namedEndpoints({ guest, tookIpv6 = [], endpoints }: StoredPod): readonly StoredEndpoint[] {
  if (!guest) return endpoints;
  return endpoints.map((endpoint) =>
    endpoint.ipv4 === undefined || tookIpv6.includes(endpoint.interfaceName)
      ? endpoint
      : { ...endpoint, ipv6: undefined },
  );
}

export function publicEndpoint(stored: StoredEndpoint): Endpoint {
  const { hostLink: _link, gwPriority: _priority, links: _links, ...endpoint } = stored;
  return endpoint;
}

function attachmentOf(pod: StoredPod, directory: string): Omit<Attachment, 'hosts' | 'resolvConf'> {
  return {
    podId: pod.podId,
    netnsPath: pod.namespace === '' ? undefined : join(directory, pod.namespace),
    endpoints: pod.endpoints.map(publicEndpoint),
    ports: pod.ports,
  };
}
