import type { Container, EndpointSpec } from '../../engine/model.ts';
import { shortId } from '../../lib/ids.ts';
import type { Attachment, Endpoint, NetworkRecord } from '../../network/network.ts';
import type { ApiVersion } from '../http/api-version.ts';
import { renderPortMap } from './render-ports.ts';

/** What rendering needs to know of the networks there are, so that a container that does not run shows which ones it will join. */
export interface NetworkLookup {
  /** Of the API that the client speaks. */
  version: ApiVersion;
  attachment(containerId: string): Attachment | undefined;
  /** By name, id or prefix; undefined when it is gone. */
  network(nameOrId: string): NetworkRecord | undefined;
}

/** `NetworkSettings` of inspect. */
export function renderNetworkSettings(container: Container, lookup: NetworkLookup): object {
  const attachment = lookup.attachment(container.id);
  const main = attachment?.endpoints.find((endpoint) => endpoint.networkName === 'bridge');
  return {
    Bridge: '',
    SandboxID: attachment ? container.podId : '',
    SandboxKey: attachment?.netnsPath ?? '',
    Ports: attachment ? renderPortMap(container.exposedPorts, attachment.ports) : {},
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: main?.endpointId ?? '',
    ...renderAddresses(main),
    MacAddress: main?.macAddress ?? '',
    Networks: renderEndpoints(container, lookup),
  };
}

/** `NetworkSettings.Networks` of inspect and list. */
export function renderEndpoints(container: Container, lookup: NetworkLookup): Record<string, object> {
  const mode = container.spec.networkMode;
  if (mode.startsWith('container:')) return {};
  const endpoints = lookup.attachment(container.id)?.endpoints ?? [];
  const wanted = new Map<string, EndpointSpec>([
    [mode, container.spec.networks[mode] ?? {}],
    ...Object.entries(container.spec.networks),
  ]);
  const rendered = new Map<string, object>();
  for (const [nameOrId, spec] of wanted) {
    const network = lookup.network(nameOrId);
    const name = network?.name ?? nameOrId;
    const endpoint = endpoints.find((candidate) => candidate.networkName === name);
    rendered.set(
      name,
      renderEndpoint(withShortId(spec, container, name, lookup), endpoint, network?.id ?? ''),
    );
  }
  for (const endpoint of endpoints) {
    if (!rendered.has(endpoint.networkName))
      rendered.set(endpoint.networkName, renderEndpoint({}, endpoint, endpoint.networkId));
  }
  return Object.fromEntries(rendered);
}

/** Before 1.45 the short id stood among the aliases of user-defined networks; since then it is a DNS name only. */
function withShortId(
  spec: EndpointSpec,
  container: Container,
  network: string,
  { version }: NetworkLookup,
): EndpointSpec {
  if (version >= 45 || ['bridge', 'host', 'none'].includes(network)) return spec;
  return { ...spec, aliases: [...(spec.aliases ?? []), shortId(container.id)] };
}

function renderEndpoint(spec: EndpointSpec, endpoint: Endpoint | undefined, networkId: string): object {
  return {
    IPAMConfig: renderIpam(spec),
    Links: spec.links ?? [],
    Aliases: spec.aliases ?? endpoint?.aliases ?? [],
    MacAddress: endpoint?.macAddress ?? spec.macAddress ?? '',
    DriverOpts: spec.driverOptions ?? null,
    GwPriority: spec.gwPriority ?? 0,
    NetworkID: networkId,
    EndpointID: endpoint?.endpointId ?? '',
    ...renderAddresses(endpoint),
    DNSNames: endpoint?.dnsNames ?? [],
  };
}

function renderAddresses(endpoint: Endpoint | undefined): object {
  return {
    Gateway: endpoint?.ipv4?.gateway ?? '',
    IPAddress: endpoint?.ipv4?.address ?? '',
    IPPrefixLen: endpoint?.ipv4?.prefixLength ?? 0,
    IPv6Gateway: endpoint?.ipv6?.gateway ?? '',
    GlobalIPv6Address: endpoint?.ipv6?.address ?? '',
    GlobalIPv6PrefixLen: endpoint?.ipv6?.prefixLength ?? 0,
  };
}

function renderIpam(spec: EndpointSpec): object | null {
  const config = {
    ...(spec.ipv4Address && { IPv4Address: spec.ipv4Address }),
    ...(spec.ipv6Address && { IPv6Address: spec.ipv6Address }),
    ...(spec.linkLocalIps && { LinkLocalIPs: spec.linkLocalIps }),
  };
  return Object.keys(config).length === 0 ? null : config;
}
