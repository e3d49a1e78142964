import { RESOLVER_ADDRESS } from '../lib/resolver-address.ts';
import { canonical } from '../lib/address.ts';
import type { NetworkConfig } from './config.ts';
import { formatHosts, parseExtraHosts } from './hosts-file.ts';
import { formatResolvConf, type HostResolverSettings } from './host-resolver.ts';
import type { StoredPod } from './records.ts';

export interface FileContext {
  config: NetworkConfig;
  host: HostResolverSettings;
  /** What `host-gateway` stands for. */
  gateways: readonly string[];
}

/** The contents of the pod's /etc/hosts and /etc/resolv.conf. Throws `invalidParameter` for what cannot stand there. */
export function renderFiles(pod: StoredPod, context: FileContext): { hosts: string; resolvConf: string } {
  const { request, endpoints } = pod;
  const gateways = context.config.hostGateway ? [context.config.hostGateway] : context.gateways;
  const own = endpoints.flatMap(({ ipv4, ipv6 }) => [ipv4?.address, ipv6?.address]);
  const hosts = formatHosts({
    hostname: request.hostname,
    domainname: request.domainname,
    addresses: own.filter((address) => address !== undefined),
    ipv6: pod.namespace === '' || endpoints.some(({ ipv6 }) => ipv6 !== undefined),
    extraHosts: parseExtraHosts(request.extraHosts, gateways),
  });
  return { hosts, resolvConf: renderResolvConf(pod, context) };
}

/** The servers that this pod's outside names are asked of. */
export function upstreamServers(pod: StoredPod, { config, host }: FileContext): string[] {
  if (pod.request.dns.length > 0) return pod.request.dns;
  return config.dns?.length ? config.dns : host.nameservers;
}

/** True when the pod asks Isle's resolver: for the names of its networks, or where only the daemon can ask. */
export function needsResolver(pod: StoredPod, { config, host }: FileContext): boolean {
  if (pod.namespace === '') return false;
  if (pod.endpoints.some((endpoint) => endpoint.dnsNames.length > 0)) return true;
  const connected = pod.endpoints.some((endpoint) => endpoint.hostLink !== '');
  const chosen = pod.request.dns.length > 0 || (config.dns?.length ?? 0) > 0;
  return connected && !chosen && host.reachable.length === 0 && host.nameservers.length > 0;
}

/** The domains that names without a dot are looked for in. */
export function searchDomains({ request }: StoredPod, { config, host }: FileContext): string[] {
  const asked = request.dnsSearch.length > 0 ? request.dnsSearch : (config.dnsSearch ?? host.search);
  return asked.includes('.') ? [] : asked;
}

function renderResolvConf(pod: StoredPod, context: FileContext): string {
  const { config, host } = context;
  const { request } = pod;
  const search = searchDomains(pod, context);
  const options = request.dnsOptions.length > 0 ? request.dnsOptions : (config.dnsOptions ?? host.options);
  if (needsResolver(pod, context)) {
    // Single-label names are names of the network: they are asked for as they are.
    const rest = options.filter((option) => !option.startsWith('ndots:'));
    const ndots = request.dnsOptions.find((option) => option.startsWith('ndots:')) ?? 'ndots:0';
    return formatResolvConf({ nameservers: [RESOLVER_ADDRESS], search, options: [...rest, ndots] });
  }
  const chosen = upstreamServers(pod, context);
  const nameservers = pod.namespace === '' || chosen !== host.nameservers ? chosen : host.reachable;
  return formatResolvConf({ nameservers, search, options });
}

/** Reads the resolvers a user gave. Undefined when one is no address that a container can ask. */
export function parseDnsServer(text: string): string | undefined {
  const address = canonical(text);
  return address === undefined || address === '0.0.0.0' ? undefined : address;
}
