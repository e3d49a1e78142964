import { join } from 'node:path';
import { openGuestServices, type GuestServiceSockets } from '../host/guest-services.ts';
import { linkAddresses } from '../host/link-addresses.ts';
import { PacketSocket } from '../host/packet-socket.ts';
import { parseAddress } from '../lib/address.ts';
import type { Logger } from '../lib/log.ts';
import { answerFrame } from './dhcp/answer.ts';
import type { GuestLease } from './dhcp/lease.ts';
import { advertise } from './dhcp/router.ts';
import type { Resolver } from './dns/resolver.ts';
import { defaultRoutes } from './endpoints.ts';
import { searchDomains, type FileContext } from './files.ts';
import { isHostName } from './hosts-file.ts';
import type { Networks } from './networks.ts';
import type { StoredEndpoint, StoredPod } from './records.ts';

export interface GuestsOptions {
  networks: Networks;
  resolver: Resolver;
  fileContext: () => FileContext;
  /** Where the namespaces' files are. */
  directory: string;
  /** The guest has its IPv6 address at that interface now. */
  tookIpv6: (podId: string, interfaceName: string) => void;
  log: Logger;
}

/** Seconds: half of it, and a daemon that is away that long takes no guest's address. */
const leaseDuration = 7 * 24 * 3600;
/** Milliseconds between two advertisements that nobody asked for. */
const advertiseInterval = 10 * 60_000;
/** Frames a second that one card of a guest gets answered. */
const rate = 40;

/**
 * Tells guests that configure themselves their addresses, routers and names, through sockets in their pods' namespaces that
 * belong to this process; what they were told holds while it is away. What a guest sends is hostile.
 */
export class Guests {
  readonly #options: GuestsOptions;
  readonly #open = new Map<string, Card[]>();
  /** One after the other for each pod, and none after a stop. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(options: GuestsOptions) {
    this.#options = options;
  }

  /** Serves the guest of the pod on all networks it is in now; again, on those it is in then. `current`: none when it is gone. */
  async serve(podId: string, current: () => StoredPod | undefined): Promise<void> {
    const before = this.#turns.get(podId) ?? Promise.resolve();
    const turn = before.catch(() => {}).then(() => this.#serve(podId, current));
    this.#turns.set(podId, turn);
    try {
      await turn;
    } finally {
      if (this.#turns.get(podId) === turn) this.#turns.delete(podId);
    }
  }

  stop(podId: string): void {
    for (const card of this.#open.get(podId) ?? []) this.#close(podId, card);
    this.#open.delete(podId);
  }

  close(): void {
    for (const podId of this.#open.keys()) this.stop(podId);
  }

  async #serve(podId: string, current: () => StoredPod | undefined): Promise<void> {
    const pod = current();
    if (pod === undefined) return;
    const { directory, networks, fileContext } = this.#options;
    const endpoints = pod.endpoints.filter(({ hostLink }) => hostLink !== '');
    const context = {
      pod,
      search: searchOf(pod, fileContext()),
      routers: await routersOf(endpoints, networks),
    };
    const leases = new Map(
      endpoints.map((endpoint) => [
        endpoint.interfaceName,
        leaseOf(endpoint, gatewaysOf(endpoint, networks), context),
      ]),
    );
    this.stop(podId);
    const opened = await openGuestServices(
      join(directory, pod.namespace),
      [...leases].map(([link, lease]) => ({ link, resolvers: resolversOf(lease) })),
    );
    const cards = opened.map((sockets) => this.#serveCard(podId, sockets, leases.get(sockets.link)!));
    if (current() === undefined) for (const card of cards) this.#close(podId, card);
    else this.#open.set(podId, cards);
  }

  #serveCard(podId: string, sockets: GuestServiceSockets, given: LeaseBase): Card {
    const { log, resolver } = this.#options;
    const { link, packets, mtu, macAddress: serverMac, guestMacAddress: macAddress } = sockets;
    const lease: GuestLease = { ...given, macAddress, serverMac, mtu };
    const families = resolversOf(given).map(({ address }) => (address.length === 4 ? 'ipv4' : 'ipv6'));
    const places = sockets.resolvers.map((pair, index) => {
      const place = `${link}/${families[index]!}`;
      resolver.serve(podId, { ...pair, family: families[index]! }, place);
      return place;
    });
    const declined = once(() =>
      log.warn({ podId, link }, 'a guest says that the address it was given is in use by somebody else'),
    );
    const tookIpv6 = once(() => this.#options.tookIpv6(podId, link));
    const socket = new PacketSocket(packets, {
      rate,
      onFrame: (frame) => {
        const answer = answerFrame(frame, lease, { declined, tookIpv6 });
        if (answer) socket.send(answer);
      },
      onError: (err) => log.warn({ err, podId, link }, 'a guest is not answered any more'),
    });
    const tell = (): void => {
      const advertisement = advertise(lease);
      if (advertisement) socket.send(advertisement);
    };
    tell();
    const timer = setInterval(tell, advertiseInterval).unref();
    return { socket, places, timer };
  }

  #close(podId: string, { socket, places, timer }: Card): void {
    clearInterval(timer);
    socket.close();
    for (const place of places) this.#options.resolver.stop(podId, place);
  }
}

interface Card {
  socket: PacketSocket;
  /** Where the resolver serves it. */
  places: string[];
  timer: NodeJS.Timeout;
}

type LeaseBase = Omit<GuestLease, 'macAddress' | 'serverMac' | 'mtu'>;
/** Of the network: internal ones have gateways, too, that lead nowhere. */
type Gateways = { ipv4?: Buffer; ipv6?: Buffer };

function gatewaysOf({ networkId }: StoredEndpoint, networks: Networks): Gateways {
  const { ipv4, ipv6 } = networks.get(networkId);
  return { ipv4: ipv4 && parseAddress(ipv4.gateway), ipv6: ipv6 && parseAddress(ipv6.gateway) };
}

function resolversOf({ ipv4, ipv6 }: LeaseBase): { address: Buffer; client: Buffer }[] {
  return [ipv4, ipv6].flatMap(
    (one) => one?.resolvers.map((address) => ({ address, client: one.address })) ?? [],
  );
}

function leaseOf(
  endpoint: StoredEndpoint,
  gateways: Gateways,
  { pod, search, routers }: { pod: StoredPod; search: string[]; routers: Map<string, Router> },
): LeaseBase {
  const { interfaceName, ipv4, ipv6, networkId } = endpoint;
  const leading = defaultRoutes(pod.endpoints).filter((route) => route.interfaceName === interfaceName);
  const leadsTo = (gateway: string | undefined): boolean =>
    leading.some((route) => route.gateway === gateway);
  const { hostname } = pod.request;
  const lease: LeaseBase = { hostname, domain: search[0] ?? '', search, duration: leaseDuration };
  if (ipv4 && gateways.ipv4)
    lease.ipv4 = {
      address: parseAddress(ipv4.address)!,
      prefixLength: ipv4.prefixLength,
      server: gateways.ipv4,
      ...(leadsTo(ipv4.gateway) ? { router: gateways.ipv4 } : {}),
      routes: [],
      resolvers: [gateways.ipv4],
    };
  if (ipv6 && gateways.ipv6) {
    const router = routers.get(networkId);
    lease.ipv6 = {
      address: parseAddress(ipv6.address)!,
      prefixLength: ipv6.prefixLength,
      ...(router ? { router } : {}),
      leadsOut: leadsTo(ipv6.gateway),
      resolvers: [gateways.ipv6],
    };
  }
  return lease;
}

/**
 * Many systems ask no server for a name without a dot (systemd-resolved, Windows): with a network's name behind it, it is a
 * name of that network.
 */
function searchOf(pod: StoredPod, context: FileContext): string[] {
  const named = pod.endpoints.filter(({ dnsNames }) => dnsNames.length > 0);
  const own = [pod.request.domainname, ...named.map(({ networkName }) => networkName)];
  return [...new Set([...own, ...searchDomains(pod, context)])].filter(isHostName);
}

type Router = { address: Buffer; macAddress: Buffer };

/** The link-local addresses of the bridges, by network: as they are. */
async function routersOf(
  endpoints: readonly StoredEndpoint[],
  networks: Networks,
): Promise<Map<string, Router>> {
  const found = new Map<string, Router>();
  for (const { networkId, ipv6 } of endpoints) {
    const bridge = networks.get(networkId).record.bridge;
    const router = ipv6 && bridge ? await linkAddresses(bridge) : undefined;
    const address = router?.addresses.find((one) => one[0] === 0xfe && one[1] === 0x80);
    if (router && address) found.set(networkId, { address, macAddress: router.macAddress });
  }
  return found;
}

function once(act: () => void): () => void {
  let done = false;
  return () => {
    if (!done) act();
    done = true;
  };
}
