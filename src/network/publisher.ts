import type { EndpointSpec, PortBinding } from '../engine/model.ts';
import { failpoint } from '../lib/failpoint.ts';
import { Rollback } from '../lib/rollback.ts';
import { wantedPorts } from './attach-request.ts';
import { targetEndpoint, targetOf } from './endpoints.ts';
import type { Firewall } from './firewall.ts';
import type { Networks } from './networks.ts';
import type { Ports } from './ports.ts';
import type { Records, StoredPod } from './records.ts';
import { elementsOf, type Withdrawals } from './withdrawals.ts';

export interface PublisherOptions {
  records: Records;
  networks: Networks;
  firewall: Firewall;
  ports: Ports;
  withdrawals: Withdrawals;
  /** Whether the host has IPv6. */
  host: { ipv6: boolean };
}

/** Leads host ports to pods. */
export class Publisher {
  readonly #options: PublisherOptions;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** Claims the host ports the request asks for, leads them to the pod, and records them. Returns them. */
  async publish(pod: StoredPod, undo: Rollback): Promise<PortBinding[]> {
    const wanted = wantedPorts(pod.request);
    const endpoint = targetEndpoint(pod.endpoints);
    const target = targetOf(pod);
    if (wanted.length === 0 || endpoint === undefined || target === undefined) return [];
    const { ports, records, firewall, networks, host, withdrawals } = this.#options;
    const { hostBinding } = networks.get(endpoint.networkId).options;
    const claimed = await ports.claim(pod.podId, wanted, { target, hostBinding, hostIpv6: host.ipv6 });
    undo.add('ports', () => ports.release(pod.podId, claimed));
    const published = { ...pod, ports: claimed };
    records.pods.put(pod.podId, published);
    const elements = elementsOf(published);
    failpoint('network.publish.before');
    undo.add('rules', () => firewall.remove(elements));
    await firewall.add(elements);
    failpoint('network.publish.after');
    withdrawals.run(() => withdrawals.forgetFlows(claimed, target));
    return claimed;
  }

  /** The pod's endpoints changed: its ports lead to the new target, or come or go with it. */
  async republish(before: StoredPod, after: StoredPod): Promise<void> {
    const { records } = this.#options;
    const [from, to] = [targetOf(before), targetOf(after)];
    after.dnsPort = records.pods.get(after.podId)?.dnsPort;
    if (from?.ipv4 === to?.ipv4 && from?.ipv6 === to?.ipv6) return;
    await this.#withdraw(before);
    const ports = pinned(before);
    try {
      after.ports = await this.#publishAs(after, ports);
    } catch (error) {
      await this.#publishAs(before, ports);
      throw error;
    }
    records.pods.put(after.podId, after);
  }

  async #withdraw(pod: StoredPod): Promise<void> {
    const { ports, firewall, withdrawals } = this.#options;
    const target = targetOf(pod);
    if (target === undefined || pod.ports.length === 0) return;
    await firewall.remove(elementsOf(pod));
    await withdrawals.forgetFlows(pod.ports, target);
    ports.release(pod.podId, pod.ports);
  }

  async #publishAs(pod: StoredPod, ports: PortBinding[]): Promise<PortBinding[]> {
    await using undo = new Rollback();
    const copy: StoredPod = { ...pod, ports: [], request: { ...pod.request, ports, publishAllPorts: false } };
    const published = await this.publish(copy, undo);
    undo.keep();
    return published;
  }

  /** What a leaving pod still has can be asked for by name only: a port, or an address. */
  async waitForLeaving(ports: readonly PortBinding[], endpoints: readonly EndpointSpec[]): Promise<void> {
    const { withdrawals } = this.#options;
    const isByName = ports.length > 0 || endpoints.some((spec) => spec.ipv4Address || spec.ipv6Address);
    if (isByName && withdrawals.pending) await withdrawals.settled();
  }
}

/** What the pod asks for, with the ports that were chosen for it before: they stay what they are. */
function pinned(pod: StoredPod): PortBinding[] {
  const chosen = [...pod.ports];
  return wantedPorts(pod.request).map((binding) => {
    const index = chosen.findIndex(
      ({ port, protocol }) => port === binding.port && protocol === binding.protocol,
    );
    if (index < 0) return binding;
    const [{ hostPort }] = chosen.splice(index, 1) as [PortBinding];
    // Both families of a binding without a host address have one port.
    const twin = chosen.findIndex((other) => other.hostPort === hostPort && other.port === binding.port);
    if (twin >= 0 && binding.hostIp === '') chosen.splice(twin, 1);
    return { port: binding.port, protocol: binding.protocol, hostIp: binding.hostIp, hostPort };
  });
}
