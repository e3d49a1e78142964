import type { Endpoint, IpamPool, NetworkRecord } from '../../network/network.ts';

/** A network of the list, or of inspect when `nameOf` gives the names of the containers in it. */
export function renderNetwork(
  network: NetworkRecord,
  nameOf: ((podId: string) => string) | undefined,
): object {
  return {
    Name: network.name,
    Id: network.id,
    Created: network.createdAt,
    Scope: 'local',
    Driver: network.driver,
    EnableIPv4: network.enableIPv4,
    EnableIPv6: network.enableIPv6,
    IPAM: {
      Driver: network.ipam.driver,
      Options: network.ipam.options,
      Config: network.ipam.config.map(renderPool),
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: nameOf
      ? Object.fromEntries(
          Object.entries(network.endpoints).map(([pod, endpoint]) => [
            pod,
            renderMember(nameOf(pod), endpoint),
          ]),
        )
      : {},
    Options: network.options,
    Labels: network.labels,
  };
}

function renderPool(pool: IpamPool): object {
  return {
    Subnet: pool.subnet,
    ...(pool.ipRange && { IPRange: pool.ipRange }),
    ...(pool.gateway && { Gateway: pool.gateway }),
    ...(pool.auxiliaryAddresses && { AuxiliaryAddresses: pool.auxiliaryAddresses }),
  };
}

function renderMember(name: string, endpoint: Endpoint): object {
  const address = (part: Endpoint['ipv4']): string => (part ? `${part.address}/${part.prefixLength}` : '');
  return {
    Name: name,
    EndpointID: endpoint.endpointId,
    MacAddress: endpoint.macAddress,
    IPv4Address: address(endpoint.ipv4),
    IPv6Address: address(endpoint.ipv6),
  };
}
