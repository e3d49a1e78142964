/** One network interface of a guest with a kernel of its own, found in it by its address. */
export interface GuestLink {
  /** What the interface has, or gets before it is set up: see {@link bootAddress}. */
  macAddress: string;
  /** The address it was booted with, when that is another one (a guest that was booted before it had a network). */
  bootAddress?: string;
  name: string;
  mtu: number;
  /** CIDR, IPv4 and IPv6. An IPv6 address is added without duplicate address detection (IFA_F_NODAD). */
  addresses: string[];
  /** `gateway` absent: on the link. `table`: absent is the main one; all are unicast routes, whatever the table. */
  routes: { destination: string; gateway?: string; table?: number }[];
  /** Permanent ones. */
  neighbours: { address: string; macAddress: string }[];
  /** Its sysctls, such as `ipv4/conf/eth0/route_localnet` (below /proc/sys/net); set before it goes up. */
  sysctls: Record<string, string>;
}

/** A link whose other end the VM's monitor opens: `-netdev tap,ifname=TAP,script=no,downscript=no,vhost=off`. */
export interface WiredLink extends GuestLink {
  /**
   * A persistent tap in the pod's namespace with `vnet_hdr`. The `owner` may open it by name there without privileges:
   * its user namespace does not matter, but it needs a /dev/net/tun that it may read and write.
   */
  tap: string;
}

/**
 * `wireGuest(netnsPath, { owner })`: gives the pod's network to a guest, whose monitor runs as the host user `owner`;
 * again, and after a crash half-way, it finds what it did. Between the network's attach and the VM's start.
 */
export type WireGuest = (netnsPath: string, options: { owner: number }) => Promise<WiredLink[]>;

/** `unwireGuest(netnsPath)`: gives it back to the namespace itself; not wired is fine. Needless before a detach. */
export type UnwireGuest = (netnsPath: string) => Promise<void>;

/**
 * `moveTap(from, to)`: brings the tap of a booted guest, made by `makeTap(from, { owner })` in a namespace without a
 * network, to a pod's namespace while the monitor holds it; {@link WireGuest} there then uses it.
 */
export type MoveTap = (fromNetns: string, toNetns: string) => Promise<void>;
