import { errnoOf, isleError } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import { Rollback } from '../lib/rollback.ts';
import { formatRecord, readPodLinks, tapPrefix, type GuestRecord } from './guest-record.ts';
import { removeGuestRules } from './guest-rules.ts';
import { planWires, wiredLinkOf, wiring } from './guest-wiring.ts';
import { setRoute } from './netlink-address.ts';
import { addAddress, deleteLink, moveLink, setLink } from './netlink.ts';
import { NetworkJob } from './network-job.ts';

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

export interface WiringOptions {
  owner: number;
  /**
   * The guest is not told its addresses, but asks for them by DHCP and router solicitations, as any system does: see
   * `openGuestServices`. It may have a link-local address that it chose itself.
   */
  configuresItself?: boolean;
}

/**
 * Gives the pod's network to a guest, whose monitor runs as the host user `owner`: for each interface a tap, to which
 * all of its frames go (guest-rules.ts), and the namespace itself keeps no address. Between the network's attach and the
 * VM's start; again, and after a crash half-way, it finds what it did. Throws `unavailable` without /dev/net/tun.
 */
export async function wireGuest(netnsPath: string, options: WiringOptions): Promise<WiredLink[]> {
  const pod = await readPodLinks(netnsPath);
  const wires = planWires(pod, options);
  const isFresh = pod.taps.every(({ record }) => record.link === undefined);
  await using undo = new Rollback();
  if (isFresh) undo.add('wiring', () => unwireGuest(netnsPath));
  failpoint('guest.wire.before');
  await runForGuest(wiring(netnsPath, wires, pod, { replace: !isFresh }));
  failpoint('guest.wire.after');
  undo.keep();
  return wires.map(wiredLinkOf);
}

/** Gives the network back to the namespace itself; not wired, or no namespace, is fine. Needless before a detach. */
export async function unwireGuest(netnsPath: string): Promise<void> {
  const pod = await readPodLinks(netnsPath).catch(ignoreNoNamespace);
  if (pod === undefined) return;
  failpoint('guest.unwire.before');
  const job = new NetworkJob().enter(netnsPath).netfilter(removeGuestRules(), { tolerate: true });
  for (const { record } of pod.taps)
    if (pod.cables.some(({ name }) => name === record.link)) giveBack(job, record);
  await job
    .route(
      pod.taps.map(({ name }) => deleteLink(name)),
      { tolerate: true },
    )
    .run();
  failpoint('guest.unwire.after');
}

/** The tap of an interface that is wired. */
export async function findTap(netnsPath: string, link: string): Promise<string | undefined> {
  const { taps } = await readPodLinks(netnsPath);
  return taps.find(({ record }) => record.link === link)?.name;
}

/** Of a network that the pod is about to leave: its tap, which nobody has open any more. None is fine. */
export async function removeTap(netnsPath: string, link: string): Promise<void> {
  const pod = await readPodLinks(netnsPath);
  const taps = pod.taps.filter(({ record }) => record.link === link);
  failpoint('guest.untap.before');
  await new NetworkJob()
    .enter(netnsPath)
    .route(
      taps.map(({ name }) => deleteLink(name)),
      { tolerate: true },
    )
    .run();
  failpoint('guest.untap.after');
}

/** The address of the network card of a guest that is booted before it has a network. */
export const bootAddress = '02:49:53:4c:45:00';

/**
 * Makes the tap of a guest that is booted before it has a network: its card has {@link bootAddress}. The namespace at
 * `netnsPath` needs no more than to be. Returns the tap's name.
 */
export async function makeTap(netnsPath: string, { owner }: { owner: number }): Promise<string> {
  const tap = `${tapPrefix}0`;
  const alias = formatRecord({ owner, bootAddress, addresses: [], routes: [] });
  await using undo = new Rollback();
  undo.add('tap', () =>
    new NetworkJob()
      .enter(netnsPath)
      .route([deleteLink(tap)], { tolerate: true })
      .run(),
  );
  failpoint('guest.tap.before');
  await runForGuest(
    new NetworkJob()
      .enter(netnsPath)
      .tap(tap, owner)
      .route([setLink(tap, { alias })]),
  );
  failpoint('guest.tap.after');
  undo.keep();
  return tap;
}

/**
 * Brings the tap of {@link makeTap} to a pod's namespace, while the monitor holds it; {@link wireGuest} there takes it.
 * Done already is fine. Rejects with EEXIST when the pod's is wired.
 */
export async function moveTap(fromNetns: string, toNetns: string): Promise<void> {
  const from = await readPodLinks(fromNetns);
  failpoint('guest.move.before');
  await new NetworkJob()
    .enter(fromNetns)
    .target(toNetns)
    .route(from.taps.map(({ name }) => moveLink(name)))
    .run();
  failpoint('guest.move.after');
}

function giveBack(job: NetworkJob, { link, addresses, routes }: GuestRecord): void {
  const ipv6 = addresses.some(({ address }) => address.length === 16);
  if (ipv6) job.write(`/proc/sys/net/ipv6/conf/${link}/disable_ipv6`, '0');
  job.route([
    ...addresses.map(({ address, prefixLength }) => addAddress(link!, address, prefixLength)),
    ...routes.map((route) => setRoute(link!, route)),
  ]);
}

async function runForGuest(job: NetworkJob): Promise<void> {
  try {
    await job.run();
  } catch (error) {
    const lacks = Object.entries(needs).find(([what]) => String(error).includes(what))?.[1];
    if (lacks === undefined || !notThere.includes(errnoOf(error) ?? '')) throw error;
    const message = `a virtual machine has no network here: ${lacks} (${errnoOf(error)}); see isle doctor`;
    throw isleError('unavailable', { message }, error);
  }
}

/** By what the job's step calls itself. */
const needs = {
  '/dev/net/tun': '/dev/net/tun cannot be opened: load the kernel module tun',
  'netlink 12': 'nftables cannot forward between links: load the kernel module nft_fwd_netdev',
};
const notThere = ['ENOENT', 'ENODEV', 'ENXIO', 'EOPNOTSUPP', 'EACCES', 'EPERM'];

function ignoreNoNamespace(error: unknown): undefined {
  if (!['ENOENT', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
}
