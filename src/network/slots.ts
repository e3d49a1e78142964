import { randomInt } from 'node:crypto';
import { close as closeFd } from 'node:fs';
import { join } from 'node:path';
import { deleteLink } from '../host/netlink.ts';
import { NetworkJob } from '../host/network-job.ts';
import { redirectDns } from '../host/nftables.ts';
import { errnoOf, isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Logger } from '../lib/log.ts';
import { RESOLVER_ADDRESS } from '../lib/resolver-address.ts';
import { parseAddress } from '../lib/address.ts';
import { layCable, macFor, openNamespace, routeThrough } from './cable.ts';
import { newHostLink } from './endpoints.ts';
import { NamespacePool, type Slot } from './namespace-pool.ts';
import type { LiveNetwork, Networks } from './networks.ts';

/** What a pod needs of its namespace: a cable to the default network, the resolver, or nothing. */
export type SlotKindName = 'default' | 'resolver' | 'plain';

export interface SlotNeed {
  kind: SlotKindName;
  /** Whether it belongs to a user namespace of its own. */
  ownUser: boolean;
}

export interface SlotsOptions {
  networks: Networks;
  directory: string;
  instance: string;
  host: { mtu: number };
  size: number;
  log: Logger;
}

/** A namespace to be made: its name, and the job that begins it. */
interface Opening {
  namespace: string;
  job(): NetworkJob;
}

/** The pools of prepared namespaces, one for each need. All but the first are filled once somebody has had the need. */
export class Slots {
  readonly #options: SlotsOptions;
  readonly #pools: Record<'host' | 'own', Record<SlotKindName, NamespacePool>>;

  constructor(options: SlotsOptions) {
    this.#options = options;
    this.#pools = { host: this.#poolsOf(false), own: this.#poolsOf(true) };
  }

  /** Waits only when the pool is empty. */
  take(need: SlotNeed): Slot | Promise<Slot> {
    const pool = this.#pool(need);
    const ready = pool.take();
    if (ready !== undefined || !need.ownUser) return ready ?? pool.build();
    return pool.build().catch((error: unknown) => {
      throw noUserNamespace(error);
    });
  }

  /** A prepared one that holds an address which somebody else shall have. */
  takeWith(address: string): Slot | undefined {
    return this.#all()
      .map((pool) => pool.takeWith(address))
      .find((slot) => slot !== undefined);
  }

  fill(need: SlotNeed): Promise<void> {
    return this.#pool(need).fill();
  }

  #pool({ kind, ownUser }: SlotNeed): NamespacePool {
    return this.#pools[ownUser ? 'own' : 'host'][kind];
  }

  #poolsOf(ownUser: boolean): Record<SlotKindName, NamespacePool> {
    const { directory, log, size } = this.#options;
    const pool = (build: (open: Opening) => Promise<Slot>, keep: number): NamespacePool =>
      new NamespacePool({
        directory,
        log,
        kind: {
          size: keep,
          build: (namespace) =>
            build({
              namespace,
              job: () => openNamespace(new NetworkJob(), join(directory, namespace), { ownUser }),
            }),
          release: (slot) => this.release(slot),
        },
      });
    return {
      default: pool((open) => this.#buildDefault(open), size),
      resolver: pool((open) => this.#buildResolver(open), Math.ceil(size / 2)),
      plain: pool((open) => this.#buildPlain(open), Math.ceil(size / 2)),
    };
  }

  #all(): NamespacePool[] {
    return [this.#pools.host, this.#pools.own].flatMap((pools) => Object.values(pools));
  }

  /** Gives back what a slot holds in this process. */
  release(slot: Slot): void {
    const network = this.#options.networks.builtIn('bridge');
    if (slot.ipv4) network.ipv4?.release(slot.ipv4);
    if (slot.ipv6) network.ipv6?.release(slot.ipv6);
    if (slot.resolver) for (const fd of [slot.resolver.udp, slot.resolver.tcp]) closeFd(fd, () => {});
  }

  /** Namespaces and links that are nobody's yet. */
  async prepared(): Promise<Slot[]> {
    return (await Promise.all(this.#all().map((pool) => pool.settled()))).flat();
  }

  async close(): Promise<void> {
    await Promise.all(this.#all().map((pool) => pool.close()));
  }

  async #buildDefault({ namespace, job: open }: Opening): Promise<Slot> {
    const { networks, instance, host } = this.#options;
    const network = networks.builtIn('bridge');
    const slot = takeAddresses(network, namespace, newHostLink(instance));
    try {
      const cable = {
        hostLink: slot.hostLinks[0]!,
        bridge: network.record.bridge!,
        mtu: network.options.mtu ?? host.mtu,
        isolated: !network.options.icc,
        interfaceName: `${network.options.interfacePrefix}0`,
        macAddress: macFor((slot.ipv4 ?? slot.ipv6)!),
        ipv4: slot.ipv4 ? { address: slot.ipv4, prefixLength: network.ipv4!.prefixLength } : undefined,
        ipv6: slot.ipv6 ? { address: slot.ipv6, prefixLength: network.ipv6!.prefixLength } : undefined,
      };
      const gateways = [network.ipv4?.gateway, network.ipv6?.gateway].filter((one) => one !== undefined);
      failpoint('network.slot.before');
      const job = layCable(open(), cable);
      await routeThrough(job, cable.interfaceName, gateways).run();
      failpoint('network.slot.after');
      return slot;
    } catch (error) {
      this.release(slot);
      await this.#remove(namespace, slot.hostLinks);
      throw error;
    }
  }

  async #buildResolver({ namespace, job: open }: Opening): Promise<Slot> {
    const port = newResolverPort();
    const job = open();
    let slot: Slot | undefined;
    try {
      failpoint('network.slot.resolver.before');
      const { sockets } = await openResolver(job, port).run();
      slot = { namespace, hostLinks: [], resolver: { port, udp: sockets[0]!.fd, tcp: sockets[1]!.fd } };
      failpoint('network.slot.resolver.after');
      return slot;
    } catch (error) {
      if (slot) this.release(slot);
      await this.#remove(namespace, []);
      throw error;
    }
  }

  async #buildPlain({ namespace, job: open }: Opening): Promise<Slot> {
    try {
      failpoint('network.slot.plain.before');
      await open().run();
      failpoint('network.slot.plain.after');
      return { namespace, hostLinks: [] };
    } catch (error) {
      await this.#remove(namespace, []);
      throw error;
    }
  }

  /** Takes back what came of a namespace that could not be made whole. */
  async #remove(namespace: string, hostLinks: readonly string[]): Promise<void> {
    await new NetworkJob()
      .route(hostLinks.map(deleteLink), { tolerate: true })
      .remove(join(this.#options.directory, namespace))
      .run();
  }
}

/** Binds the resolver's sockets (UDP, then TCP) in the job's namespace and sends the pod's port 53 there. */
export function openResolver(job: NetworkJob, port: number): NetworkJob {
  return bindResolver(job, port).netfilter(redirectDns(parseAddress(RESOLVER_ADDRESS)!, port));
}

/** The sockets alone, where the rules lead to this port already. */
export function bindResolver(job: NetworkJob, port: number): NetworkJob {
  const address = parseAddress(RESOLVER_ADDRESS)!;
  return job
    .socket({ family: 'ipv4', type: 'udp', address, port })
    .socket({ family: 'ipv4', type: 'tcp', address, port, listen: true });
}

/** Below the ephemeral ports, so that no connection of the pod's takes it; at random, so that no server expects it. */
export function newResolverPort(): number {
  return randomInt(20_000, 32_000);
}

/** ENOSPC is the limit user.max_user_namespaces; EPERM a host that keeps them to itself. */
function noUserNamespace(error: unknown): unknown {
  const code = errnoOf(error);
  if (code !== 'ENOSPC' && code !== 'EPERM') return error;
  const why = `the kernel makes none (${code}): see sysctl user.max_user_namespaces, and isle doctor`;
  return isleError('idMapUnsupported', { why }, error);
}

function takeAddresses(network: LiveNetwork, namespace: string, hostLink: string): Slot {
  const slot: Slot = { namespace, hostLinks: [hostLink] };
  slot.ipv4 = network.ipv4?.allocate();
  try {
    slot.ipv6 = network.ipv6?.allocate();
  } catch (error) {
    if (slot.ipv4) network.ipv4?.release(slot.ipv4);
    throw error;
  }
  return slot;
}
