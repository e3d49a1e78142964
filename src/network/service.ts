import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { deleteLinks, findLinks, listLinks } from '../host/netlink.ts';
import { NetworkJob } from '../host/network-job.ts';
import { errnoOf, isleError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Store } from '../lib/table.ts';
import { overlaps, type Subnet } from '../lib/address.ts';
import { createBridge, hostHasIpv6, hostSubnets, removeBridges, repairBridge, uplinkMtu } from './bridges.ts';
import type { NetworkConfig } from './config.ts';
import { linkPrefix } from './endpoints.ts';
import { mendCables } from './mend-cables.ts';
import type { Network, NetworkRecord, NetworkSpec } from './network.ts';
import { bridgeAlias, bridgeOf, rulesOf, subnetsOf, type LiveNetwork, type Networks } from './networks.ts';
import { createParts, type Parts, type PartsOptions } from './parts.ts';
import { publicEndpoint } from './pods.ts';
import type { Records, StoredPod } from './records.ts';
import { networkElements } from './ruleset.ts';
import { elementsOf } from './withdrawals.ts';

export interface NetworkOptions {
  store: Store;
  runRoot: string;
  dataRoot: string;
  /** Prefix of the bridge, name of the nftables table. */
  instance: string;
  log: Logger;
  config: NetworkConfig;
}

/** Networking on this host's kernel. Nothing is touched before {@link Network.recover}. */
export async function createNetwork(options: NetworkOptions): Promise<Network> {
  const { instance, config } = options;
  if (!/^[a-z][a-z0-9_-]{0,13}$/.test(instance))
    throw isleError('invalidName', { kind: 'instance', name: instance });
  const directory = join(options.runRoot, 'netns');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const host = { mtu: config.mtu ?? (await uplinkMtu()), ipv6: await hostHasIpv6() };
  return new KernelNetwork({ ...options, directory, host });
}

/** How often another subnet is tried when somebody else takes the chosen one at the same moment. */
const SUBNET_TRIES = 8;

class KernelNetwork implements Network {
  readonly #instance: string;
  readonly #directory: string;
  readonly #host: { mtu: number; ipv6: boolean };
  readonly #log: Logger;
  readonly #records: Records;
  readonly #networks: Networks;
  readonly #parts: Parts;

  constructor(options: PartsOptions) {
    this.#instance = options.instance;
    this.#directory = options.directory;
    this.#host = options.host;
    this.#log = options.log;
    this.#parts = createParts(options);
    this.#records = this.#parts.records;
    this.#networks = this.#parts.networks;
  }

  async create(spec: NetworkSpec): Promise<NetworkRecord> {
    const network = await this.#make((foreign, skip) =>
      this.#networks.prepare(structuredClone(spec), foreign, skip),
    );
    try {
      await this.#parts.firewall.add(networkElements(rulesOf(network)));
    } catch (error) {
      await this.#unmake(network);
      throw error;
    }
    this.#networks.commit(network);
    return this.get(network.record.id);
  }

  async remove(id: string): Promise<void> {
    const network = this.#networks.get(id);
    const { record } = network;
    if (record.builtIn)
      throw isleError('conflict', {
        message: `${record.name} is a pre-defined network and cannot be removed`,
      });
    const users = this.#users(record.id);
    if (users.length > 0)
      throw isleError('conflict', {
        message: `error while removing network: network ${record.name} has active endpoints: ${users.join(', ')}; disconnect or stop them first`,
      });
    // Pending again: nobody finds it any more, and a restart would finish the removal.
    network.record = { ...record, pending: true };
    this.#records.networks.put(record.id, network.record);
    await this.#unmake(network);
  }

  list(): NetworkRecord[] {
    return this.#networks.all().map((network) => this.#render(network));
  }

  get(idOrName: string): NetworkRecord {
    return this.#render(this.#networks.get(idOrName));
  }

  attach: Network['attach'] = (podId, request) => this.#parts.pods.attach(podId, request);
  connect: Network['connect'] = (podId, networkId, endpoint) =>
    this.#parts.pods.connect(podId, networkId, endpoint);
  disconnect: Network['disconnect'] = (podId, networkId) => this.#parts.pods.disconnect(podId, networkId);
  serveGuest: Network['serveGuest'] = (podId) => this.#parts.pods.serveGuest(podId);
  detach: Network['detach'] = (podId) => this.#parts.pods.detach(podId);
  attachment: Network['attachment'] = (podId) => this.#parts.pods.attachment(podId);
  stats: Network['stats'] = (podId) => this.#parts.pods.stats(podId);
  rename: Network['rename'] = (podId, name) => this.#parts.pods.rename(podId, name);

  async recover(claimed: ReadonlySet<string>): Promise<void> {
    const running = await this.#stillThere(claimed);
    await this.#announceForwarding();
    for (const network of this.#networks.pending()) await this.#unmake(network);
    await this.#dropStaleDefault(running);
    if (!this.#networks.hasDefault()) {
      await this.#removeOrphan(`${this.#instance}0`);
      const network = await this.#make((foreign, skip) => this.#networks.prepareBuiltIns(foreign, skip));
      this.#networks.commit(network);
    }
    await this.#repairBridges();
    await mendCables(this.#records, this.#networks, running);
    this.#takeAddresses();
    const pods = this.#records.pods.all();
    const alive = pods.filter((pod) => running.has(pod.podId));
    await this.#parts.firewall.start([
      ...this.#bridged().flatMap((network) => networkElements(rulesOf(network))),
      ...alive.flatMap((pod) => elementsOf(pod)),
    ]);
    for (const pod of pods) if (!running.has(pod.podId)) await this.#parts.pods.detach(pod.podId);
    await this.#parts.withdrawals.settled();
    await this.#removeLeftovers();
    await Promise.all(alive.map((pod) => this.#resume(pod)));
    void this.#parts.slots.fill({ kind: 'default', ownUser: false });
  }

  async close(): Promise<void> {
    await this.#parts.slots.close();
    await this.#parts.withdrawals.settled();
    this.#parts.guests.close();
    this.#parts.resolver.close();
    this.#parts.ports.close();
    await this.#parts.firewall.close();
    if (this.#records.pods.all().length === 0) await this.#clearHost();
  }

  async removeAll(): Promise<void> {
    for (const pod of this.#records.pods.all()) await this.#parts.pods.detach(pod.podId);
    await this.close();
  }

  /** Takes off the host what is left when no pod is. The next start makes it again. */
  async #clearHost(): Promise<void> {
    await this.#parts.firewall.removeTable();
    await this.#removeLeftovers();
    await removeBridges(this.#bridged().map(({ record }) => record.bridge!));
  }

  /**
   * Records a network and makes its bridge. When its subnet was chosen here and another program took it in the same
   * moment, another one is chosen.
   */
  async #make(prepare: (foreign: readonly Subnet[], skip: number) => LiveNetwork): Promise<LiveNetwork> {
    const own = new Set(this.#bridged().map(({ record }) => record.bridge!));
    for (let attempt = 0; ; attempt++) {
      const foreign = await hostSubnets(own);
      const network = prepare(foreign, attempt === 0 ? 0 : Math.floor(Math.random() * 8));
      try {
        await this.#makeBridge(network, own);
        return network;
      } catch (error) {
        await this.#unmake(network);
        if (errnoOf(error) !== 'ESUBNET' || attempt === SUBNET_TRIES) throw error;
      }
    }
  }

  async #makeBridge(network: LiveNetwork, own: ReadonlySet<string>): Promise<void> {
    const { bridge, name } = network.record;
    try {
      await createBridge(bridgeOf(network, { ...this.#host, instance: this.#instance }));
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      // It is somebody else's: forgetting the network must not delete it.
      this.#networks.forget(network.record.id);
      throw isleError(
        'conflict',
        { message: `network ${name}: the host has a link named ${bridge} already` },
        error,
      );
    }
    const others = await hostSubnets(new Set([...own, bridge!]));
    const clash = subnetsOf(network).find((subnet) => others.some((other) => overlaps(subnet, other)));
    if (clash && !network.record.chosen)
      this.#log.warn(
        { network: name, subnet: clash.cidr },
        'the subnet overlaps one the host has a route to',
      );
    else if (clash) throw Object.assign(new Error(`${clash.cidr} is taken`), { code: 'ESUBNET' });
  }

  /** Takes a network away that is not, or no longer, in use. */
  async #unmake(network: LiveNetwork): Promise<void> {
    const { id, bridge } = network.record;
    if (this.#networks.find(id) === undefined) return;
    if (bridge !== undefined) {
      await this.#parts.firewall.remove(networkElements(rulesOf(network)));
      await removeBridges([bridge]);
    }
    this.#networks.forget(id);
  }

  /** The bridge of a default network whose record was lost with a damaged database. The name is this instance's own. */
  async #removeOrphan(bridge: string): Promise<void> {
    if (!existsSync(`/sys/class/net/${bridge}/bridge`)) return;
    this.#log.warn({ bridge }, 'the default network has a bridge and no record: it is made anew');
    await removeBridges([bridge]);
  }

  /** Bridges turn it on for the whole host: its administrator finds that in the log. */
  async #announceForwarding(): Promise<void> {
    const sysctl = 'net.ipv4.ip_forward';
    const value = await readFile('/proc/sys/net/ipv4/ip_forward', 'latin1');
    if (value.trim() === '0')
      this.#log.warn({ sysctl }, 'IPv4 forwarding is off on this host: it is turned on');
  }

  /** Of the pods said to run those whose namespace is there: a reboot, or somebody's umount, ends it. */
  async #stillThere(claimed: ReadonlySet<string>): Promise<Set<string>> {
    const { dev } = await stat(this.#directory);
    const pods = this.#records.pods.all().filter(({ podId }) => claimed.has(podId));
    const there = await Promise.all(
      pods.map(async ({ namespace }) => {
        if (namespace === '') return true;
        // A namespace is a mount of its own on its file.
        const found = await stat(join(this.#directory, namespace)).catch(() => undefined);
        return found !== undefined && found.dev !== dev;
      }),
    );
    return new Set(pods.filter((_, index) => there[index]).map(({ podId }) => podId));
  }

  /** One pod that cannot be resumed keeps no other one, and not the daemon, from coming back. */
  async #resume(pod: StoredPod): Promise<void> {
    try {
      await this.#parts.pods.resume(pod);
    } catch (err) {
      this.#log.error({ err, pod: pod.podId }, 'names or ports of a running pod could not be taken up again');
    }
  }

  /** The default network follows the configuration and the host's routes, as long as no pod runs on it. */
  async #dropStaleDefault(running: ReadonlySet<string>): Promise<void> {
    if (!this.#networks.hasDefault()) return;
    const { record } = this.#networks.builtIn('bridge');
    const foreign = await hostSubnets(new Set(this.#bridged().map((network) => network.record.bridge!)));
    if (!this.#networks.isDefaultStale(foreign)) return;
    const inUse = this.#records.pods
      .all()
      .some(
        (pod) => running.has(pod.podId) && pod.endpoints.some(({ networkId }) => networkId === record.id),
      );
    if (inUse)
      this.#log.warn('the default network keeps its old settings until no container runs on it at a start');
    else await this.#unmake(this.#networks.builtIn('bridge'));
  }

  async #repairBridges(): Promise<void> {
    const links = await findLinks(this.#bridged().map(({ record }) => record.bridge!));
    await Promise.all(
      this.#bridged().map((network) => {
        const bridge = bridgeOf(network, { ...this.#host, instance: this.#instance });
        return links.has(bridge.name) ? repairBridge(bridge) : createBridge(bridge);
      }),
    );
  }

  /** Addresses in use follow from the endpoints on record. */
  #takeAddresses(): void {
    for (const pod of this.#records.pods.all()) {
      for (const { networkId, ipv4, ipv6 } of pod.endpoints) {
        const network = this.#networks.find(networkId);
        if (ipv4) network?.ipv4?.claim(ipv4.address);
        if (ipv6) network?.ipv6?.claim(ipv6.address);
      }
    }
  }

  /** Namespaces and links of this instance that no record knows: prepared ones of before, and what a crash left. */
  async #removeLeftovers(): Promise<void> {
    const slots = await this.#parts.slots.prepared();
    const pods = this.#records.pods.all();
    const namespaces = new Set([...pods, ...slots].map(({ namespace }) => namespace));
    const links = new Set(pods.flatMap((pod) => pod.endpoints.map((endpoint) => endpoint.hostLink)));
    for (const link of slots.flatMap(({ hostLinks }) => hostLinks)) links.add(link);
    const strangers = (await readdir(this.#directory)).filter((name) => !namespaces.has(name));
    await Promise.all(strangers.map((name) => this.#removeNamespace(name)));
    const prefix = linkPrefix(this.#instance);
    const bridges = new Set(this.#bridged().map(({ record }) => record.bridge));
    const alias = bridgeAlias(this.#instance);
    const stray = (await listLinks())
      .filter((link) =>
        link.alias === alias
          ? !bridges.has(link.name)
          : link.name.startsWith(prefix) && !links.has(link.name),
      )
      .map((link) => link.name);
    await deleteLinks(stray);
  }

  /** One that cannot be removed keeps no other one, and not the daemon, from going on. */
  async #removeNamespace(name: string): Promise<void> {
    try {
      await new NetworkJob().remove(join(this.#directory, name)).run();
    } catch (err) {
      this.#log.error({ err }, 'a network namespace that nobody uses could not be removed');
    }
  }

  #bridged(): LiveNetwork[] {
    return this.#networks.all().filter(({ record }) => record.bridge !== undefined);
  }

  #users(networkId: string): string[] {
    return this.#records.pods
      .all()
      .filter((pod) => pod.endpoints.some((endpoint) => endpoint.networkId === networkId))
      .map((pod) => pod.request.name);
  }

  #render({ record }: LiveNetwork): NetworkRecord {
    const endpoints: NetworkRecord['endpoints'] = {};
    for (const pod of this.#records.pods.all()) {
      const endpoint = pod.endpoints.find((one) => one.networkId === record.id);
      if (endpoint) endpoints[pod.podId] = publicEndpoint(endpoint);
    }
    const { pending: _pending, chosen: _chosen, ...rest } = record;
    return { ...rest, endpoints };
  }
}
