import { isleError } from '../lib/errors.ts';
import { newId } from '../lib/ids.ts';
import { formatAddress, parseAddress, parseSubnet, overlaps, toBytes, type Subnet } from '../lib/address.ts';
import { parseBridgeOptions, type BridgeOptions } from './bridge-options.ts';
import type { Bridge } from './bridges.ts';
import type { NetworkConfig } from './config.ts';
import { Addresses, chooseSubnet, chooseUniqueLocalSubnet, defaultAddressPools, parsePool } from './ipam.ts';
import type { IpamPool, NetworkSpec } from './network.ts';
import type { Records, StoredNetwork } from './records.ts';
import type { NetworkRules } from './ruleset.ts';

/** A network in memory: its record, what follows from it, and the addresses in use. */
export interface LiveNetwork {
  record: StoredNetwork;
  options: BridgeOptions;
  ipv4?: Addresses;
  ipv6?: Addresses;
}

/** Which networks there are: their records and addresses. Touches no kernel. */
export class Networks {
  readonly #records: Records;
  readonly #config: NetworkConfig;
  readonly #instance: string;
  readonly #live = new Map<string, LiveNetwork>();

  constructor(options: { records: Records; config: NetworkConfig; instance: string }) {
    this.#records = options.records;
    this.#config = options.config;
    this.#instance = options.instance;
    for (const record of this.#records.networks.all()) this.#live.set(record.id, goLive(record));
  }

  /** Every network whose creation has finished. */
  all(): LiveNetwork[] {
    return [...this.#live.values()].filter(({ record }) => !record.pending);
  }

  /** Those whose creation a crash interrupted. */
  pending(): LiveNetwork[] {
    return [...this.#live.values()].filter(({ record }) => record.pending);
  }

  /** By id, name, or unambiguous id prefix. */
  get(idOrName: string): LiveNetwork {
    const all = this.all();
    const exact =
      all.find(({ record }) => record.id === idOrName) ?? all.find(({ record }) => record.name === idOrName);
    if (exact) return exact;
    const matches = idOrName === '' ? [] : all.filter(({ record }) => record.id.startsWith(idOrName));
    if (matches.length > 1) throw isleError('ambiguousId', { kind: 'network', id: idOrName });
    return matches[0] ?? refuseUnknown(idOrName);
  }

  /** By its whole id. */
  find(id: string): LiveNetwork | undefined {
    return this.#live.get(id);
  }

  /** The default network, `none` or `host`. */
  builtIn(name: 'bridge' | 'none' | 'host'): LiveNetwork {
    return this.all().find(({ record }) => record.builtIn && record.name === name)!;
  }

  hasDefault(): boolean {
    return this.all().some(({ record }) => record.builtIn && record.driver === 'bridge');
  }

  /**
   * Checks `spec`, fills in what it leaves open and records the network as pending.
   * @param foreign subnets that others have on this host
   * @param skip pieces of the pools to leave out, when an earlier choice turned out to be taken
   */
  prepare(spec: NetworkSpec, foreign: readonly Subnet[], skip = 0): LiveNetwork {
    checkSpec(spec);
    // Those in the making or going too: of two at once one wins.
    if ([...this.#live.values()].some(({ record }) => record.name === spec.name))
      throw isleError('conflict', { message: `network with name ${spec.name} already exists` });
    return this.#add(spec, foreign, skip, { builtIn: false });
  }

  /** Records `bridge`, `none` and `host`; the first is pending until its bridge exists. */
  prepareBuiltIns(foreign: readonly Subnet[], skip = 0): LiveNetwork {
    for (const [name, driver] of [
      ['none', 'null'],
      ['host', 'host'],
    ] as const) {
      if (this.all().some(({ record }) => record.builtIn && record.name === name)) continue;
      this.commit(this.#add(plainSpec(name, driver), [], 0, { builtIn: true }));
    }
    return this.#add(this.#defaultSpec(), foreign, skip, { builtIn: true });
  }

  /** The network's bridge exists now. */
  commit(network: LiveNetwork): void {
    const { pending: _pending, ...record } = network.record;
    network.record = record;
    this.#records.networks.put(record.id, record);
  }

  forget(id: string): void {
    this.#live.delete(id);
    this.#records.networks.delete(id);
  }

  /** True when the default network is not what the configuration says, or lies where the host has routes now. */
  isDefaultStale(foreign: readonly Subnet[]): boolean {
    const { record } = this.builtIn('bridge');
    const chosen = record.chosen ?? false;
    const wanted = this.#defaultSpec();
    const given = wanted.ipam.config.map((config) => {
      const { subnet, gateway } = parsePool(config);
      return complete(config, subnet, gateway);
    });
    if (JSON.stringify(wanted.options) !== JSON.stringify(record.options)) return true;
    const kept = chosen
      ? record.ipam.config.filter(({ subnet }) => subnet.includes(':'))
      : record.ipam.config;
    if (JSON.stringify(given) !== JSON.stringify(kept)) return true;
    return chosen && subnetsOf({ record }).some((own) => foreign.some((other) => overlaps(own, other)));
  }

  #defaultSpec(): NetworkSpec {
    const { subnet, ipRange, gateway, ipv6Subnet, mtu } = this.#config.bridge ?? {};
    const spec = plainSpec('bridge', 'bridge');
    if (subnet !== undefined) spec.ipam.config.push({ subnet, ipRange, gateway });
    if (ipv6Subnet !== undefined) spec.ipam.config.push({ subnet: ipv6Subnet });
    spec.enableIPv6 = ipv6Subnet !== undefined;
    spec.options['com.docker.network.bridge.name'] = `${this.#instance}0`;
    if (mtu !== undefined) spec.options['com.docker.network.driver.mtu'] = String(mtu);
    return spec;
  }

  #add(spec: NetworkSpec, foreign: readonly Subnet[], skip: number, own: { builtIn: boolean }): LiveNetwork {
    const id = newId();
    const isBridge = spec.driver === 'bridge';
    const config = isBridge ? this.#pools(spec, foreign, skip) : [];
    const options = isBridge ? parseBridgeOptions(spec.options) : undefined;
    const record: StoredNetwork = {
      ...spec,
      ipam: { ...spec.ipam, config },
      id,
      createdAt: new Date().toISOString().replace('Z', '000000Z'),
      builtIn: own.builtIn,
      ...(isBridge ? { bridge: options?.bridge ?? `br-${id.slice(0, 12)}` } : {}),
      pending: true,
    };
    if (isBridge) this.#checkBridgeName(record.bridge!);
    if (!spec.ipam.config.some(({ subnet }) => subnet && !subnet.includes(':'))) record.chosen = true;
    const network = goLive(record);
    this.#live.set(id, network);
    this.#records.networks.put(id, record);
    return network;
  }

  #checkBridgeName(bridge: string): void {
    for (const { record } of this.#live.values()) {
      if (record.bridge === bridge)
        throw isleError('conflict', {
          message: `bridge ${bridge} already belongs to network ${record.name}`,
        });
    }
  }

  /** The pools asked for, checked against every other network, and one for each family nobody gave one for. */
  #pools(spec: NetworkSpec, foreign: readonly Subnet[], skip: number): IpamPool[] {
    const given = spec.ipam.config.filter(({ subnet }) => subnet !== undefined && subnet !== '');
    const parsed = given.map((config) => ({ config, pool: parsePool(config) }));
    for (const [index, { pool }] of parsed.entries()) {
      const { family, cidr } = pool.subnet;
      if (parsed.slice(0, index).some((other) => other.pool.subnet.family === family))
        refuse(
          `only one ${family === 'ipv4' ? 'IPv4' : 'IPv6'} subnet can be given: ${cidr} is a second one`,
        );
      if (family === 'ipv6' && !spec.enableIPv6)
        refuse(`subnet ${cidr} is an IPv6 one, but the network has no IPv6: enable it (--ipv6)`);
      if (family === 'ipv4' && !spec.enableIPv4)
        refuse(`subnet ${cidr} is an IPv4 one, but the network has no IPv4`);
      this.#checkOverlap(pool.subnet);
    }
    const has = (family: string): boolean => parsed.some(({ pool }) => pool.subnet.family === family);
    const pools = parsed.map(({ config, pool }) => complete(config, pool.subnet, pool.gateway));
    if (spec.enableIPv4 && !has('ipv4')) pools.unshift(this.#choose(foreign, skip));
    if (spec.enableIPv6 && !has('ipv6')) {
      const subnet = chooseUniqueLocalSubnet();
      pools.push(complete({ subnet: subnet.cidr }, subnet, firstHost(subnet)));
    }
    return pools;
  }

  #choose(foreign: readonly Subnet[], skip: number): IpamPool {
    const taken = [...foreign, ...[...this.#live.values()].flatMap(subnetsOf)];
    const subnet = chooseSubnet(this.#config.addressPools ?? defaultAddressPools, taken, skip);
    return complete({ subnet: subnet.cidr }, subnet, firstHost(subnet));
  }

  #checkOverlap(subnet: Subnet): void {
    for (const network of this.#live.values()) {
      const other = subnetsOf(network).find((own) => overlaps(own, subnet));
      if (other === undefined) continue;
      const { name } = network.record;
      throw isleError('conflict', {
        message: `Pool overlaps with other one on this address space: ${subnet.cidr} overlaps ${other.cidr} of network ${name}`,
      });
    }
  }
}

/** What bridges of an instance are marked with. */
export function bridgeAlias(instance: string): string {
  return `isle network of ${instance}`;
}

/** The network's bridge as the kernel should have it. */
export function bridgeOf(network: LiveNetwork, host: { mtu: number; instance: string }): Bridge {
  const { record, options, ipv4, ipv6 } = network;
  const addresses = [ipv4, ipv6]
    .filter((family) => family !== undefined)
    .map(({ gateway, prefixLength }) => ({ address: gateway, prefixLength }));
  const alias = bridgeAlias(host.instance);
  return { name: record.bridge!, alias, mtu: options.mtu ?? host.mtu, addresses };
}

export function rulesOf(network: LiveNetwork): NetworkRules {
  const { record, options } = network;
  return {
    bridge: record.bridge!,
    internal: record.internal,
    icc: options.icc,
    masquerade: options.masquerade,
    subnets: subnetsOf(network),
  };
}

export function subnetsOf({ record }: Pick<LiveNetwork, 'record'>): Subnet[] {
  return record.ipam.config.map(({ subnet }) => parseSubnet(subnet)!);
}

function goLive(record: StoredNetwork): LiveNetwork {
  const live: LiveNetwork = {
    record,
    options: parseBridgeOptions(record.driver === 'bridge' ? record.options : {}),
  };
  for (const config of record.ipam.config) {
    const addresses = new Addresses(parsePool(config));
    live[addresses.family] = addresses;
  }
  return live;
}

function checkSpec(spec: NetworkSpec): void {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/.test(spec.name))
    throw isleError('invalidName', { kind: 'network', name: spec.name });
  if (['bridge', 'none', 'host', 'default', 'container'].includes(spec.name))
    throw isleError('conflict', { message: `operation is not permitted on predefined ${spec.name} network` });
  if (spec.driver === 'host' || spec.driver === 'null')
    throw isleError('conflict', { message: `only one instance of "${spec.driver}" network is allowed` });
  if (spec.driver !== 'bridge' && spec.driver !== '')
    throw isleError('notImplemented', { what: `the network driver "${spec.driver}" (use bridge)` });
  if (!['', 'default'].includes(spec.ipam.driver))
    throw isleError('notImplemented', { what: `the IPAM driver "${spec.ipam.driver}"` });
  for (const key of Object.keys(spec.ipam.options))
    throw isleError('notImplemented', { what: `the IPAM option ${key}` });
  if (!spec.enableIPv4 && !spec.enableIPv6) refuse('IPv4 or IPv6 must be enabled');
  spec.driver ||= 'bridge';
  spec.ipam.driver ||= 'default';
}

function plainSpec(name: string, driver: string): NetworkSpec {
  return {
    name,
    driver,
    internal: false,
    attachable: false,
    enableIPv4: true,
    enableIPv6: false,
    ipam: { driver: 'default', config: [], options: {} },
    options: {},
    labels: {},
  };
}

/** The pool with its gateway filled in and its addresses in canonical form. */
function complete(config: IpamPool, subnet: Subnet, gateway: string): IpamPool {
  const pool: IpamPool = { subnet: subnet.cidr, gateway };
  if (config.ipRange) pool.ipRange = parseSubnet(config.ipRange)!.cidr;
  const auxiliary = Object.entries(config.auxiliaryAddresses ?? {});
  if (auxiliary.length > 0)
    pool.auxiliaryAddresses = Object.fromEntries(
      auxiliary.map(([name, text]) => [name, formatAddress(parseAddress(text)!)]),
    );
  return pool;
}

function firstHost(subnet: Subnet): string {
  return formatAddress(toBytes(subnet.first + 1n, subnet.family));
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}

function refuseUnknown(id: string): never {
  throw isleError('noSuchNetwork', { id });
}
