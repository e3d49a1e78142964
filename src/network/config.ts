import type { AddressPool } from './ipam.ts';

/** What an administrator can set about networking (the `network` part of the configuration file). */
export interface NetworkConfig {
  /** The default network; a subnet that is not given is chosen so that it collides with no route of the host. */
  bridge?: {
    subnet?: string;
    ipRange?: string;
    gateway?: string;
    /** Gives the default network IPv6. */
    ipv6Subnet?: string;
    mtu?: number;
  };
  /** Where subnets nobody chose come from. Default: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in /20s. */
  addressPools?: AddressPool[];
  /** Prepared namespaces kept ready. Default 6; 0 prepares none. */
  pool?: number;
  /** MTU of new networks. Default: that of the interface with the default route, at most 1500. */
  mtu?: number;
  /** Resolvers for containers that name none. Default: the host's. */
  dns?: string[];
  dnsSearch?: string[];
  dnsOptions?: string[];
  /** What `host-gateway` stands for in extra hosts. Default: the default bridge's gateway. */
  hostGateway?: string;
}
