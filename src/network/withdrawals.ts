import { join } from 'node:path';
import type { PortBinding } from '../engine/model.ts';
import { deleteLink } from '../host/netlink.ts';
import { NetworkJob } from '../host/network-job.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Logger } from '../lib/log.ts';
import { releaseEndpoint, targetOf } from './endpoints.ts';
import type { Firewall } from './firewall.ts';
import type { Networks } from './networks.ts';
import { forgetFlows, type PodTarget, publications, type Ports } from './ports.ts';
import type { StoredPod } from './records.ts';
import { publicationElement, type Element } from './ruleset.ts';

export interface WithdrawalsOptions {
  networks: Networks;
  firewall: Firewall;
  ports: Ports;
  /** Where the namespaces' files are. */
  directory: string;
  log: Logger;
}

/**
 * Takes from the kernel what pods had, after they are gone from the records: a stop need not wait for it. Until it
 * is done nobody gets the pod's addresses and ports. A crash in between leaves what no record knows, and the
 * next start removes that.
 */
export class Withdrawals {
  readonly #options: WithdrawalsOptions;
  readonly #running = new Set<Promise<void>>();

  constructor(options: WithdrawalsOptions) {
    this.#options = options;
  }

  get pending(): boolean {
    return this.#running.size > 0;
  }

  start(pod: StoredPod): void {
    this.run(() => this.#withdraw(pod));
  }

  /** Work that nobody waits for, but {@link settled}. */
  run(work: () => Promise<void>): void {
    const done = work()
      .catch((err: unknown) => this.#options.log.error({ err }, 'a network could not be cleared away'))
      .finally(() => this.#running.delete(done));
    this.#running.add(done);
  }

  /** Resolves when everything begun so far has ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Flows that stay end by themselves: no reason to keep the ports, or to leave them half withdrawn. */
  async forgetFlows(ports: readonly PortBinding[], target: PodTarget): Promise<void> {
    const { log } = this.#options;
    await forgetFlows(ports, target).catch((err: unknown) => log.warn({ err }, 'UDP flows stay'));
  }

  async #withdraw(pod: StoredPod): Promise<void> {
    const { firewall, ports, networks, directory } = this.#options;
    const job = new NetworkJob();
    // The kernel takes a link down some time after its namespace: too late for an address that is asked for again.
    const chosen = pod.request.networks.some(({ endpoint }) => endpoint.ipv4Address || endpoint.ipv6Address);
    const links = chosen ? pod.endpoints.map(({ hostLink }) => hostLink).filter((link) => link !== '') : [];
    job.route(links.map(deleteLink), { tolerate: true });
    if (pod.namespace !== '') job.remove(join(directory, pod.namespace));
    failpoint('network.detach.before');
    await Promise.all([job.run(), firewall.remove(elementsOf(pod))]);
    failpoint('network.detach.after');
    const target = targetOf(pod);
    if (target) await this.forgetFlows(pod.ports, target);
    ports.release(pod.podId, pod.ports);
    for (const endpoint of pod.endpoints) {
      const network = networks.find(endpoint.networkId);
      if (network) releaseEndpoint(network, endpoint);
    }
  }
}

/** The elements that lead to the pod's ports. */
export function elementsOf(pod: StoredPod): Element[] {
  const target = targetOf(pod);
  return target ? publications(pod.ports, target).map(publicationElement) : [];
}
