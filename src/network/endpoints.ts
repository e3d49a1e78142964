import { createHash, randomBytes } from 'node:crypto';
import type { EndpointSpec } from '../engine/model.ts';
import { isIsleError, isleError } from '../lib/errors.ts';
import { newId, shortId } from '../lib/ids.ts';
import { formatAddress, parseAddress } from '../lib/address.ts';
import { isLinkName } from './bridge-options.ts';
import { macFor, type Cable } from './cable.ts';
import { isHostName } from './hosts-file.ts';
import type { Addresses } from './ipam.ts';
import type { AttachRequest } from './network.ts';
import type { LiveNetwork } from './networks.ts';
import type { PodTarget } from './ports.ts';
import type { StoredEndpoint, StoredPod } from './records.ts';

/** Host links of an instance start with this: what carries it and is in no record is a leftover. */
export function linkPrefix(instance: string): string {
  return `ve${createHash('sha256').update(instance).digest('hex').slice(0, 5)}`;
}

export function newHostLink(instance: string): string {
  return linkPrefix(instance) + randomBytes(4).toString('hex');
}

/** Checks what the user asked of an endpoint. Throws `invalidParameter`, `notImplemented`. */
export function checkEndpointSpec(network: LiveNetwork, spec: EndpointSpec): void {
  const { name, driver, builtIn } = network.record;
  const wantsAddress = Boolean(spec.ipv4Address || spec.ipv6Address);
  if (driver !== 'bridge' && (wantsAddress || spec.macAddress))
    refuse(`network ${name} has no addresses of its own to ask for`);
  if (builtIn && wantsAddress && !spec.returning)
    refuse('user specified IP address is supported on user defined networks only');
  if (builtIn && (spec.aliases?.length ?? 0) > 0)
    refuse('network-scoped aliases are only supported for user-defined networks');
  if (spec.linkLocalIps?.length)
    throw isleError('notImplemented', { what: 'a link-local address for an endpoint' });
  for (const alias of spec.aliases ?? [])
    if (!isHostName(alias))
      refuse(`invalid network alias "${alias}": letters, digits, ".", "_" and "-" only`);
  for (const link of spec.links ?? [])
    if (!/^[^:\s]+(:[^:\s]+)?$/.test(link) || !isHostName(link.split(':').at(-1)!))
      refuse(`invalid link "${link}": write it like container:alias`);
  for (const [key, value] of Object.entries(spec.driverOptions ?? {})) {
    if (key !== ifnameOption) throw isleError('notImplemented', { what: `the endpoint option ${key}` });
    if (!isLinkName(value) || value === 'lo') refuse(`invalid interface name "${value}" in ${key}`);
  }
  if (spec.macAddress) parseMac(spec.macAddress);
}

const ifnameOption = 'com.docker.network.endpoint.ifname';

/** Gives the pod an endpoint on a bridge network: its addresses are taken, nothing else is done yet. */
export function allocateEndpoint(
  network: LiveNetwork,
  podId: string,
  request: Pick<AttachRequest, 'name' | 'hostname'>,
  spec: EndpointSpec,
  own: {
    instance: string;
    taken: readonly StoredEndpoint[];
    prepared?: { ipv4?: string; ipv6?: string; hostLink: string };
  },
): StoredEndpoint {
  const { prepared } = own;
  const interfaceName =
    spec.driverOptions?.[ifnameOption] ?? freeInterface(network.options.interfacePrefix, own.taken);
  if (own.taken.some((other) => other.interfaceName === interfaceName))
    refuse(`the container has an interface named ${interfaceName} already`);
  const ipv4 = prepared ? prepared.ipv4 : takeAgain(network, network.ipv4, spec.ipv4Address, spec);
  let ipv6: string | undefined;
  try {
    ipv6 = prepared ? prepared.ipv6 : takeAgain(network, network.ipv6, spec.ipv6Address, spec);
  } catch (error) {
    if (ipv4) network.ipv4?.release(ipv4);
    throw error;
  }
  const gateway = (addresses: Addresses): string => (network.record.internal ? '' : addresses.gateway);
  const side = (address: string | undefined, addresses: Addresses | undefined) =>
    address && addresses
      ? { address, prefixLength: addresses.prefixLength, gateway: gateway(addresses) }
      : undefined;
  const aliases = spec.aliases ?? [];
  return {
    endpointId: newId(),
    networkId: network.record.id,
    networkName: network.record.name,
    interfaceName,
    macAddress: spec.macAddress ? formatMac(parseMac(spec.macAddress)) : macFor((ipv4 ?? ipv6)!),
    ipv4: side(ipv4, network.ipv4),
    ipv6: side(ipv6, network.ipv6),
    aliases,
    dnsNames: network.record.builtIn ? [] : dnsNames(podId, request, aliases),
    driverOptions: spec.driverOptions ?? {},
    hostLink: prepared?.hostLink ?? newHostLink(own.instance),
    gwPriority: spec.gwPriority ?? 0,
    links: spec.links ?? [],
  };
}

/** An endpoint of `none` or `host`: in the books only. */
export function bareEndpoint(network: LiveNetwork, spec: EndpointSpec): StoredEndpoint {
  return {
    endpointId: newId(),
    networkId: network.record.id,
    networkName: network.record.name,
    interfaceName: '',
    macAddress: '',
    aliases: [],
    dnsNames: [],
    driverOptions: {},
    hostLink: '',
    gwPriority: spec.gwPriority ?? 0,
    links: [],
  };
}

export function releaseEndpoint(network: LiveNetwork, { ipv4, ipv6 }: StoredEndpoint): void {
  if (ipv4) network.ipv4?.release(ipv4.address);
  if (ipv6) network.ipv6?.release(ipv6.address);
}

export function dnsNames(
  podId: string,
  { name, hostname }: Pick<AttachRequest, 'name' | 'hostname'>,
  aliases: readonly string[],
): string[] {
  return [...new Set([name, ...aliases, shortId(podId), hostname])].filter((one) => one !== '');
}

export function cableOf(network: LiveNetwork, endpoint: StoredEndpoint, mtu: number): Cable {
  const { hostLink, interfaceName, macAddress, ipv4, ipv6 } = endpoint;
  return {
    hostLink,
    bridge: network.record.bridge!,
    mtu: network.options.mtu ?? mtu,
    isolated: !network.options.icc,
    interfaceName,
    macAddress,
    ipv4,
    ipv6,
  };
}

/** Endpoints in the order in which they are asked to carry the default route. */
function byPriority(endpoints: readonly StoredEndpoint[]): StoredEndpoint[] {
  return endpoints.toSorted((a, b) => b.gwPriority - a.gwPriority);
}

/** Which interface has the default route of each family. */
export function defaultRoutes(
  endpoints: readonly StoredEndpoint[],
): { interfaceName: string; gateway: string }[] {
  const routes: { interfaceName: string; gateway: string }[] = [];
  for (const family of ['ipv4', 'ipv6'] as const) {
    const chosen = byPriority(endpoints).find((endpoint) => endpoint[family]?.gateway);
    if (chosen) routes.push({ interfaceName: chosen.interfaceName, gateway: chosen[family]!.gateway });
  }
  return routes;
}

/** Whose addresses published ports lead to: the endpoint with the default route. Undefined when none leads out. */
export function targetEndpoint(endpoints: readonly StoredEndpoint[]): StoredEndpoint | undefined {
  return byPriority(endpoints).find(({ ipv4, ipv6 }) => ipv4?.gateway || ipv6?.gateway);
}

/** A guest that configures itself may well have no IPv6: what comes to its ports by that is carried to its other address. */
export function targetOf({
  endpoints,
  request,
}: Pick<StoredPod, 'endpoints' | 'request'>): PodTarget | undefined {
  const outward = targetEndpoint(endpoints);
  const only4 = request.guest === true && outward?.ipv4 !== undefined;
  return outward && { ipv4: outward.ipv4?.address, ipv6: only4 ? undefined : outward.ipv6?.address };
}

/** One that it had is not insisted on: its guest asks for another when it finds that it is not there. */
function takeAgain(
  network: LiveNetwork,
  addresses: Addresses | undefined,
  wanted: string | undefined,
  { returning }: EndpointSpec,
): string | undefined {
  try {
    return takeAddress(network, addresses, wanted);
  } catch (error) {
    if (!returning || !isIsleError(error)) throw error;
    return addresses?.allocate();
  }
}

function takeAddress(
  network: LiveNetwork,
  addresses: Addresses | undefined,
  wanted: string | undefined,
): string | undefined {
  if (!wanted) return addresses?.allocate();
  const bytes = parseAddress(wanted);
  if (bytes === undefined) refuse(`invalid IP address "${wanted}"`);
  if (addresses === undefined || !addresses.contains(bytes!)) {
    const subnets = network.record.ipam.config.map(({ subnet }) => subnet).join(', ');
    refuse(`address ${wanted} is in no subnet of network ${network.record.name} (${subnets})`);
  }
  const address = formatAddress(bytes!);
  addresses!.take(address);
  return address;
}

function freeInterface(prefix: string, taken: readonly StoredEndpoint[]): string {
  for (let index = 0; ; index++) {
    const name = `${prefix}${index}`;
    if (!taken.some((endpoint) => endpoint.interfaceName === name)) return name;
  }
}

function parseMac(text: string): Buffer {
  const hex = text.replaceAll(/[:-]/g, '');
  if (!/^([0-9a-fA-F]{2}[:-]?){5}[0-9a-fA-F]{2}$/.test(text) || hex.length !== 12)
    refuse(`invalid MAC address "${text}": write it like 02:42:ac:11:00:02`);
  const mac = Buffer.from(hex, 'hex');
  if ((mac[0]! & 1) === 1) refuse(`invalid MAC address "${text}": it is a multicast address`);
  return mac;
}

function formatMac(mac: Buffer): string {
  return mac.toString('hex').match(/../g)!.join(':');
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}
