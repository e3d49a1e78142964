import { join } from 'node:path';
import type { EndpointSpec } from '../engine/model.ts';
import { NetworkJob } from '../host/network-job.ts';
import { deleteLink, listLinks, setLink } from '../host/netlink.ts';
import { isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { Rollback } from '../lib/rollback.ts';
import { checkRequest, needOf, wantedPorts, type WantedEndpoint } from './attach-request.ts';
import { layCable, routeThrough } from './cable.ts';
import type { NetworkConfig } from './config.ts';
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
import { needsResolver, renderFiles, type FileContext } from './files.ts';
import type { Firewall } from './firewall.ts';
import type { HostResolver } from './host-resolver.ts';
import type { Slot } from './namespace-pool.ts';
import type { AttachRequest, Attachment, Endpoint, InterfaceStats } from './network.ts';
import type { LiveNetwork, Networks } from './networks.ts';
import { forgetFlows, type Ports } from './ports.ts';
import type { Records, StoredEndpoint, StoredPod } from './records.ts';
import { newResolverPort, openResolver, type Slots } from './slots.ts';
import { elementsOf, type Withdrawals } from './withdrawals.ts';

export interface PodsOptions {
  records: Records;
  networks: Networks;
  firewall: Firewall;
  ports: Ports;
  names: Names;
  resolver: Resolver;
  hostResolver: HostResolver;
  slots: Slots;
  withdrawals: Withdrawals;
  /** Where the namespaces' files are. */
  directory: string;
  instance: string;
  config: NetworkConfig;
  /** MTU of networks that say none, and whether the host has IPv6. */
  host: { mtu: number; ipv6: boolean };
}

/** Pods and their endpoints: what `attach` gives and `detach` takes. */
export class Pods {
  readonly #options: PodsOptions;

  constructor(options: PodsOptions) {
    this.#options = options;
  }

  async attach(podId: string, request: AttachRequest): Promise<Attachment> {
    const { records, networks } = this.#options;
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(podId))
      throw isleError('invalidName', { kind: 'pod', name: podId });
    if (records.pods.get(podId))
      throw isleError('conflict', { message: `pod ${podId} has a network already` });
    const wanted = request.networks.map(({ network, endpoint }) => ({
      network: networks.get(network),
      spec: endpoint,
    }));
    checkRequest(request, wanted);
    await this.#waitForLeaving(request);
    await using undo = new Rollback();
    const pod = await this.#lay(podId, request, wanted, undo);
    const files = renderFiles(pod, this.#fileContext());
    await this.#publish(pod, undo);
    this.#options.names.set(podId, pod.endpoints);
    undo.keep();
    return { ...attachmentOf(pod, this.#options.directory), ...files };
  }

  async connect(podId: string, networkId: string, spec: EndpointSpec): Promise<Endpoint> {
    const { records, networks, directory, instance, host } = this.#options;
    const pod = this.#get(podId);
    const network = networks.get(networkId);
    this.#refuseConnect(pod, network);
    checkEndpointSpec(network, spec);
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
    for (const { interfaceName, gateway } of defaultRoutes(next.endpoints))
      routeThrough(job, interfaceName, [gateway]);
    undo.add('cable', () =>
      new NetworkJob().route([deleteLink(endpoint.hostLink)], { tolerate: true }).run(),
    );
    await job.run();
    failpoint('network.connect.after');
    await this.#ensureResolver(next, undo);
    await this.#republish(pod, next);
    undo.keep();
    this.#options.names.set(podId, next.endpoints);
    return publicEndpoint(endpoint);
  }

  async disconnect(podId: string, networkId: string): Promise<void> {
    const { records, networks, directory } = this.#options;
    const pod = this.#get(podId);
    const network = networks.get(networkId);
    const endpoint = pod.endpoints.find((one) => one.networkId === network.record.id);
    if (endpoint === undefined)
      throw isleError('conflict', {
        message: `container ${pod.request.name} is not connected to network ${network.record.name}`,
      });
    const next: StoredPod = { ...pod, endpoints: pod.endpoints.filter((one) => one !== endpoint) };
    this.#options.names.set(podId, next.endpoints);
    await this.#republish(pod, next);
    failpoint('network.disconnect.before');
    const job = new NetworkJob().route([deleteLink(endpoint.hostLink)], { tolerate: true });
    if (pod.namespace !== '' && endpoint.hostLink !== '') {
      job.enter(join(directory, pod.namespace));
      for (const { interfaceName, gateway } of defaultRoutes(next.endpoints))
        routeThrough(job, interfaceName, [gateway]);
    }
    await job.run();
    failpoint('network.disconnect.after');
    // The ports were stored by #republish.
    records.pods.put(podId, { ...next, ports: this.#get(podId).ports });
    releaseEndpoint(network, endpoint);
  }

  /** The pod is gone when this resolves; what the kernel has of it goes in the background. */
  async detach(podId: string): Promise<void> {
    const { records, names, resolver, withdrawals } = this.#options;
    const pod = records.pods.get(podId);
    if (pod === undefined) return;
    names.delete(podId);
    resolver.stop(podId);
    failpoint('network.forget.before');
    records.pods.delete(podId);
    failpoint('network.forget.after');
    withdrawals.start(pod);
  }

  attachment(podId: string): Attachment | undefined {
    const pod = this.#options.records.pods.get(podId);
    if (pod === undefined) return undefined;
    return { ...attachmentOf(pod, this.#options.directory), ...renderFiles(pod, this.#fileContext()) };
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
    records.pods.put(podId, { ...pod, request, endpoints });
    names.set(podId, endpoints);
  }

  /**
   * After a restart: an endpoint that was not finished, or not quite removed, has no cable and goes; a cable whose
   * bridge had to be made again is plugged in.
   */
  async mendCables(running: ReadonlySet<string>): Promise<void> {
    const { records, networks } = this.#options;
    const links = new Map((await listLinks()).map((link) => [link.name, link]));
    const job = new NetworkJob();
    for (const pod of records.pods.all().filter(({ podId }) => running.has(podId))) {
      const endpoints = pod.endpoints.filter(({ hostLink }) => hostLink === '' || links.has(hostLink));
      if (endpoints.length < pod.endpoints.length) records.pods.put(pod.podId, { ...pod, endpoints });
      for (const { hostLink, networkId } of endpoints) {
        const bridge = networks.find(networkId)?.record.bridge;
        if (hostLink === '' || !bridge || links.get(hostLink)?.master === links.get(bridge)?.index) continue;
        job.route([setLink(hostLink, { master: bridge, up: true })]);
      }
    }
    await job.run();
  }

  /** After a restart, for a pod that runs: what lives in this process is made anew, the rest is there. */
  async resume(pod: StoredPod): Promise<void> {
    const { names, ports } = this.#options;
    names.set(pod.podId, pod.endpoints);
    const target = targetOf(pod.endpoints);
    await Promise.all([
      this.#resumeResolver(pod),
      target && pod.ports.length > 0 ? ports.resume(pod.podId, pod.ports, target) : undefined,
    ]);
  }

  async #resumeResolver(pod: StoredPod): Promise<void> {
    if (pod.dnsPort === undefined || this.#options.resolver.serves(pod.podId)) return;
    const { resolver, directory, records } = this.#options;
    const path = join(directory, pod.namespace);
    // The pod may have taken the port while nobody listened: then another one is as good.
    for (const port of [pod.dnsPort, newResolverPort(), newResolverPort()]) {
      const opened = await openResolver(new NetworkJob().enter(path), port).run().catch(ignoreInUse);
      if (opened === undefined) continue;
      resolver.serve(pod.podId, { udp: opened.sockets[0]!.fd, tcp: opened.sockets[1]!.fd });
      if (port !== pod.dnsPort) records.pods.put(pod.podId, { ...pod, dnsPort: port });
      return;
    }
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
    const need = isHost ? undefined : needOf(wanted);
    const slot = need === undefined ? undefined : await this.#options.slots.take(need);
    if (slot) undo.add('namespace', () => this.#discard(slot));
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
    await this.#ensureResolver(pod, undo);
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

  async #discard(slot: Slot): Promise<void> {
    const { slots, directory } = this.#options;
    await new NetworkJob()
      .route(slot.hostLinks.map(deleteLink), { tolerate: true })
      .remove(join(directory, slot.namespace))
      .run();
    slots.release({ ...slot, resolver: undefined });
  }

  /** Opens the resolver for a pod that needs it and has none yet. */
  async #ensureResolver(pod: StoredPod, undo: Rollback): Promise<void> {
    if (pod.dnsPort !== undefined || !needsResolver(pod, this.#fileContext())) return;
    const { resolver, directory, records } = this.#options;
    const port = newResolverPort();
    const { sockets } = await openResolver(
      new NetworkJob().enter(join(directory, pod.namespace)),
      port,
    ).run();
    resolver.serve(pod.podId, { udp: sockets[0]!.fd, tcp: sockets[1]!.fd });
    undo.add('resolver', () => resolver.stop(pod.podId));
    records.pods.put(pod.podId, { ...this.#get(pod.podId), dnsPort: port });
  }

  /** Claims the host ports the request asks for and leads them to the pod. */
  async #publish(pod: StoredPod, undo: Rollback): Promise<void> {
    const wanted = wantedPorts(pod.request);
    const target = targetOf(pod.endpoints);
    if (wanted.length === 0 || target === undefined) return;
    const { ports, records, firewall, networks, host, withdrawals } = this.#options;
    const hostBinding = networks.get(pod.endpoints[0]!.networkId).options.hostBinding;
    const claimed = await ports.claim(pod.podId, wanted, { target, hostBinding, hostIpv6: host.ipv6 });
    undo.add('ports', () => ports.release(pod.podId, claimed));
    pod.ports = claimed;
    records.pods.put(pod.podId, pod);
    const elements = elementsOf(pod);
    failpoint('network.publish.before');
    undo.add('rules', () => firewall.remove(elements));
    await firewall.add(elements);
    failpoint('network.publish.after');
    withdrawals.run(() => forgetFlows(claimed, target));
  }

  /** The pod's endpoints changed: its ports lead to the new target, or come or go with it. */
  async #republish(before: StoredPod, after: StoredPod): Promise<void> {
    const { ports, firewall, records } = this.#options;
    const [from, to] = [targetOf(before.endpoints), targetOf(after.endpoints)];
    const current = this.#get(after.podId);
    after.dnsPort = current.dnsPort;
    if (from?.ipv4 === to?.ipv4 && from?.ipv6 === to?.ipv6) return;
    if (from) {
      await firewall.remove(elementsOf(before));
      await forgetFlows(before.ports, from);
      ports.release(before.podId, before.ports);
    }
    after.ports = [];
    await using undo = new Rollback();
    // A port chosen at random stays what it was.
    const request =
      before.ports.length > 0
        ? { ...after.request, ports: before.ports, publishAllPorts: false }
        : after.request;
    const pod = { ...after, request };
    await this.#publish(pod, undo);
    undo.keep();
    after.ports = pod.ports;
    records.pods.put(after.podId, after);
  }

  /** What a leaving pod still has can be asked for by name only: a port, or an address. */
  async #waitForLeaving({ networks, ports }: AttachRequest): Promise<void> {
    const { withdrawals } = this.#options;
    const isByName =
      ports.length > 0 || networks.some(({ endpoint }) => endpoint.ipv4Address || endpoint.ipv6Address);
    if (isByName && withdrawals.pending) await withdrawals.settled();
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

  #fileContext(): FileContext {
    const { config, hostResolver, networks } = this.#options;
    const { ipv4, ipv6 } = networks.builtIn('bridge');
    const gateways = [ipv4?.gateway, ipv6?.gateway].filter((one) => one !== undefined);
    return { config, host: hostResolver.current(), gateways };
  }

  #get(podId: string): StoredPod {
    const pod = this.#options.records.pods.get(podId);
    if (pod === undefined)
      throw isleError('conflict', { message: `pod ${podId} has no network: it is not running` });
    return pod;
  }
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

function ignoreInUse(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return undefined;
  throw error;
}
