/** What one network card of a guest is told when it asks: all of it decided before (IPAM), nothing of it by the guest. */
export interface GuestLease {
  /** The card's. 6 bytes. */
  macAddress: Buffer;
  /** Whose frames the answers are. */
  serverMac: Buffer;
  mtu: number;
  hostname: string;
  /** '' for none. */
  domain: string;
  /** Domains in which names are looked for. */
  search: string[];
  /** Seconds a guest may keep its addresses without asking again. */
  duration: number;
  ipv4?: {
    address: Buffer;
    prefixLength: number;
    /** The network's gateway answers, even where it leads nowhere (internal networks). */
    server: Buffer;
    /** Absent: no way out by this card. */
    router?: Buffer;
    /** Further networks, and where to: absent is on the link. */
    routes: { destination: Buffer; prefixLength: number; gateway?: Buffer }[];
    resolvers: Buffer[];
  };
  ipv6?: {
    address: Buffer;
    prefixLength: number;
    /** The network's router: its link-local address, and its station's. Absent: there is none to be found. */
    router?: { address: Buffer; macAddress: Buffer };
    /** The way out leads by this card. */
    leadsOut: boolean;
    resolvers: Buffer[];
  };
}

/** What the network is told of a guest by its questions. */
export interface GuestNews {
  /** It found its address in use by somebody else. */
  declined?(): void;
  /** It has its IPv6 address, which many a system never asks for. */
  tookIpv6?(): void;
}
