import type { EndpointSpec, PortBinding, PortKey } from '../engine/model.ts';

/**
 * The contract of networking: networks, endpoints of pods in them, published ports, names.
 *
 * All packet rules live in the one nftables table of this instance and are replaced atomically; nothing else
 * on the host's firewall is touched (see docs/networks.md). A pod's endpoints exist before its first process starts.
 */
export interface Network {
  create(spec: NetworkSpec): Promise<NetworkRecord>;
  /** Throws `conflict` while pods are in it or when it is one of the built-in ones. */
  remove(id: string): Promise<void>;
  list(): NetworkRecord[];
  /** By id, name, or unambiguous id prefix (in that order). Throws `noSuchNetwork`, `ambiguousId`. */
  get(idOrName: string): NetworkRecord;

  /**
   * Gives the pod a network namespace (from the pool of prepared ones), an endpoint in each network asked for,
   * its published ports and its names. All or nothing. Throws `portInUse` naming the owner.
   */
  attach(podId: string, request: AttachRequest): Promise<Attachment>;

  /** Adds or removes one endpoint of a running pod. */
  connect(podId: string, networkId: string, endpoint: EndpointSpec): Promise<Endpoint>;
  disconnect(podId: string, networkId: string): Promise<void>;

  /**
   * The pod's network belongs to a guest that configures itself (its runtime has wired it: `wireGuest`): from now on, and after
   * restarts, it is told its addresses, routers and names by DHCP and router advertisements. Again after the pod joined
   * or left a network and its guest has, or has no more, a card for it. Idempotent.
   */
  serveGuest(podId: string): Promise<void>;

  /**
   * Takes everything `attach` gave away again; idempotent. The kernel's part of it goes on in the background: until
   * it is done nobody else gets the pod's ports and addresses.
   */
  detach(podId: string): Promise<void>;

  attachment(podId: string): Attachment | undefined;

  /** Counters per interface of the pod, by the interface's name inside. */
  stats(podId: string): Promise<Record<string, InterfaceStats>>;

  /** The pod's name changed: it resolves by the new one from now on. */
  rename(podId: string, name: string): void;

  /**
   * To be called before anything else: makes the default network, rebuilds bridges, rules, port proxies and the
   * resolver for the pods that still run, and removes links, namespaces, rules and addresses of all others.
   * Idempotent. A pod whose namespace is gone does not run, whatever is said.
   */
  recover(running: ReadonlySet<string>): Promise<void>;

  /**
   * Stops helpers of this process (resolver, pool). Running pods keep their network; when there are none, bridges
   * and rules go too, until the next `recover`.
   */
  close(): Promise<void>;

  /** Takes everything of this instance off the host: pods' namespaces, bridges, rules. Records of networks stay. */
  removeAll(): Promise<void>;
}

export interface NetworkSpec {
  name: string;
  driver: string;
  internal: boolean;
  attachable: boolean;
  enableIPv4: boolean;
  enableIPv6: boolean;
  ipam: { driver: string; config: IpamPool[]; options: Record<string, string> };
  options: Record<string, string>;
  labels: Record<string, string>;
}

export interface IpamPool {
  /** CIDR */
  subnet: string;
  ipRange?: string;
  gateway?: string;
  auxiliaryAddresses?: Record<string, string>;
}

export interface NetworkRecord extends NetworkSpec {
  id: string;
  createdAt: string;
  /** `bridge`, `none`, `host` exist from the start and cannot be removed. */
  builtIn: boolean;
  /** Name of the bridge on the host. */
  bridge?: string;
  /** By pod id. */
  endpoints: Record<string, Endpoint>;
}

export interface Endpoint {
  endpointId: string;
  networkId: string;
  networkName: string;
  interfaceName: string;
  macAddress: string;
  ipv4?: { address: string; prefixLength: number; gateway: string };
  ipv6?: { address: string; prefixLength: number; gateway: string };
  aliases: string[];
  /** Names that resolve to it: container name, aliases, short id. */
  dnsNames: string[];
  driverOptions: Record<string, string>;
}

export interface AttachRequest {
  /** Container name, for DNS. */
  name: string;
  hostname: string;
  domainname: string;
  /** By network name or id, in order; the first gives the default route unless gwPriority says otherwise. Empty: loopback only (`none`). */
  networks: { network: string; endpoint: EndpointSpec }[];
  ports: PortBinding[];
  /** For `publishAllPorts` and inspect. */
  exposedPorts: PortKey[];
  publishAllPorts: boolean;
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  extraHosts: string[];
  sysctls: Record<string, string>;
  /**
   * The namespace belongs to a user namespace of its own (and not to the host's), which has no maps yet: whoever is root in
   * it may configure it.
   */
  ownUser?: boolean;
  /** It will belong to a guest that configures itself: see {@link Network.serveGuest}. */
  guest?: boolean;
}

export interface Attachment {
  podId: string;
  /** To join. Absent: the host's own (network `host`). */
  netnsPath?: string;
  endpoints: Endpoint[];
  /** With the real host ports. */
  ports: PortBinding[];
  /** Contents for the pod's files. */
  hosts: string;
  resolvConf: string;
}

export interface InterfaceStats {
  rxBytes: number;
  rxPackets: number;
  rxErrors: number;
  rxDropped: number;
  txBytes: number;
  txPackets: number;
  txErrors: number;
  txDropped: number;
}
