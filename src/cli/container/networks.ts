import { Failure } from '../failure.ts';
import { parseInteger } from '../flags.ts';
import { parseCsv } from './csv.ts';
import { parseIp } from './hosts.ts';

/** One `--network`. */
export interface NetworkAsked {
  target: string;
  aliases: string[];
  links: string[];
  linkLocalIps: string[];
  driverOptions?: Record<string, string>;
  ip?: string;
  ip6?: string;
  mac?: string;
  gwPriority?: number;
}

export interface EndpointBody {
  IPAMConfig?: { IPv4Address?: string; IPv6Address?: string; LinkLocalIPs?: string[] };
  Links?: string[];
  Aliases?: string[];
  MacAddress?: string;
  DriverOpts?: Record<string, string>;
  GwPriority?: number;
}

/** `--network NAME`, or `name=NAME,alias=…,ip=…`. */
export function parseNetwork(given: string): NetworkAsked {
  const asked: NetworkAsked = { target: '', aliases: [], links: [], linkLocalIps: [] };
  if (!/(^|,)\w[\w-]*=/.test(given)) return { ...asked, target: given };
  for (const field of parseCsv(given)) {
    const at = field.indexOf('=');
    if (at < 0) throw new Failure(`invalid field ${field}`);
    const key = field.slice(0, at).trim().toLowerCase();
    setNetworkField(asked, key, field.slice(at + 1).trim());
  }
  if (asked.target === '') throw new Failure('network name/id is not specified');
  return asked;
}

function setNetworkField(asked: NetworkAsked, key: string, value: string): void {
  if (key === 'name') asked.target = value;
  else if (key === 'alias') asked.aliases.push(value);
  else if (key === 'ip') asked.ip = parseIp(value, 'invalid IP address');
  else if (key === 'ip6') asked.ip6 = parseIp(value, 'invalid IP address');
  else if (key === 'mac-address') asked.mac = parseMac(value);
  else if (key === 'link-local-ip') asked.linkLocalIps.push(parseIp(value, 'invalid IP address'));
  else if (key === 'gw-priority') asked.gwPriority = parseInteger(value);
  else if (key === 'driver-opt') {
    const at = value.indexOf('=');
    if (at <= 0) throw new Failure(`invalid key value pair format in driver options: ${value}`);
    asked.driverOptions = { ...asked.driverOptions, [value.slice(0, at).toLowerCase()]: value.slice(at + 1) };
  } else throw new Failure(`invalid field key ${key}`);
}

export interface NetworkFlags {
  network: NetworkAsked[];
  'network-alias': string[];
  link: string[];
  'link-local-ip': string[];
  ip: string | undefined;
  ip6: string | undefined;
  'mac-address': string | undefined;
}

/** The network mode and the endpoints, the single flags (`--ip`, `--network-alias`) going to the first network. */
export function resolveNetworks(flags: NetworkFlags): {
  mode: string;
  endpoints: Record<string, EndpointBody>;
} {
  const asked = flags.network.length > 0 ? flags.network : [{ ...parseNetwork('default') }];
  const first = asked[0]!;
  const endpoints: Record<string, EndpointBody> = {};
  for (const [at, network] of asked.entries()) {
    const merged = at === 0 ? mergeSingleFlags(network, flags) : network;
    if (Object.hasOwn(endpoints, merged.target))
      throw new Failure(`network "${merged.target}" is specified multiple times`);
    const isPrivate = !/^(none|host|container:.*)$/.test(merged.target);
    if (
      merged.aliases.length > 0 &&
      (!isPrivate || merged.target === 'default' || merged.target === 'bridge')
    )
      throw new Failure('network-scoped aliases are only supported for user-defined networks');
    endpoints[merged.target] = toEndpoint(merged);
  }
  const alone = asked.length === 1 && /^(none|host|container:.*)$/.test(first.target);
  return { mode: first.target, endpoints: alone && isBare(endpoints[first.target]!) ? {} : endpoints };
}

function isBare(endpoint: EndpointBody): boolean {
  return Object.keys(endpoint).length === 0;
}

function mergeSingleFlags(network: NetworkAsked, flags: NetworkFlags): NetworkAsked {
  const clash = (one: string, other: string) =>
    new Failure(`conflicting options: cannot specify both ${one} and per-network ${other}`);
  const merged = { ...network };
  if (flags['network-alias'].length > 0) {
    if (network.aliases.length > 0) throw clash('--network-alias', 'alias');
    merged.aliases = flags['network-alias'];
  }
  if (flags.link.length > 0 && isUserDefined(network.target)) merged.links = flags.link;
  if (flags.ip !== undefined) {
    if (network.ip !== undefined) throw clash('--ip', 'IPv4 address');
    merged.ip = flags.ip;
  }
  if (flags.ip6 !== undefined) {
    if (network.ip6 !== undefined) throw clash('--ip6', 'IPv6 address');
    merged.ip6 = flags.ip6;
  }
  if (flags['mac-address'] !== undefined) {
    if (network.mac !== undefined) throw clash('--mac-address', 'MAC address');
    merged.mac = flags['mac-address'];
  }
  if (flags['link-local-ip'].length > 0) {
    if (network.linkLocalIps.length > 0) throw clash('--link-local-ip', 'link-local IP');
    merged.linkLocalIps = flags['link-local-ip'];
  }
  return merged;
}

function isUserDefined(target: string): boolean {
  return !/^(default|bridge|none|host|container:.*)$/.test(target);
}

export function toEndpoint(asked: NetworkAsked): EndpointBody {
  const endpoint: EndpointBody = {};
  if (asked.ip !== undefined || asked.ip6 !== undefined || asked.linkLocalIps.length > 0)
    endpoint.IPAMConfig = {
      ...(asked.ip !== undefined && { IPv4Address: asked.ip }),
      ...(asked.ip6 !== undefined && { IPv6Address: asked.ip6 }),
      ...(asked.linkLocalIps.length > 0 && { LinkLocalIPs: asked.linkLocalIps }),
    };
  if (asked.links.length > 0) endpoint.Links = asked.links;
  if (asked.aliases.length > 0) endpoint.Aliases = asked.aliases;
  if (asked.mac !== undefined) endpoint.MacAddress = asked.mac;
  if (asked.driverOptions) endpoint.DriverOpts = asked.driverOptions;
  if (asked.gwPriority !== undefined) endpoint.GwPriority = asked.gwPriority;
  return endpoint;
}

export function parseMac(given: string): string {
  if (/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(given.trim())) return given.trim();
  throw new Failure(`${given} is not a valid mac address`);
}
