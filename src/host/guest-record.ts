import { formatAddress, parseAddress } from '../lib/address.ts';
import { errnoOf } from '../lib/errors.ts';
import {
  dumpAddresses,
  dumpRoutes,
  readAddresses,
  readRoutes,
  type LinkAddress,
  type LinkRoute,
} from './netlink-address.ts';
import { dumpLinks, readLinks, type Link } from './netlink.ts';
import { NetworkJob } from './network-job.ts';

/**
 * What an interface of a pod had before a guest got it. It is kept in the kernel, as the alias of the tap: there as long
 * as the namespace is, whatever becomes of this process.
 */
export interface GuestRecord {
  /** Host user that may open the tap. */
  owner: number;
  /** Absent: a tap that waits for its interface. */
  link?: string;
  /** The address its guest was booted with, where it came with one. */
  bootAddress?: string;
  addresses: { address: Buffer; prefixLength: number }[];
  routes: LinkRoute[];
}

/** What a pod's namespace has. */
export interface PodLinks {
  /** Cables to networks, in the order they came. */
  cables: Link[];
  taps: { name: string; record: GuestRecord }[];
  addresses: LinkAddress[];
  routes: (LinkRoute & { link: number })[];
}

/** Names of taps begin with it. */
export const tapPrefix = 'isle-tap';

/** Rejects with ENOENT or EINVAL when there is no namespace. */
export async function readPodLinks(netnsPath: string): Promise<PodLinks> {
  for (let attempt = 0; ; attempt++) {
    try {
      const job = new NetworkJob().enter(netnsPath);
      const { replies } = await job.route([dumpLinks()]).route([dumpAddresses()]).route([dumpRoutes()]).run();
      const links = readLinks(replies[0]!);
      return {
        cables: links.filter(({ kind }) => kind === 'veth').toSorted((a, b) => a.index - b.index),
        taps: links.flatMap(({ name, kind, alias }) => {
          const record = kind === 'tun' && name.startsWith(tapPrefix) ? parseRecord(alias) : undefined;
          return record ? [{ name, record }] : [];
        }),
        addresses: readAddresses(replies[1]!).filter(({ given }) => given),
        routes: readRoutes(replies[2]!),
      };
    } catch (error) {
      // EINTR: the list changed while it was read.
      if (errnoOf(error) !== 'EINTR' || attempt === 10) throw error;
    }
  }
}

/** What the interface has now. */
export function recordOf({ index, name }: Link, pod: PodLinks, owner: number): GuestRecord {
  return {
    owner,
    link: name,
    addresses: pod.addresses.filter(({ link }) => link === index),
    routes: pod.routes.filter(({ link }) => link === index),
  };
}

/** Up to 255 bytes, as the kernel takes them. */
export function formatRecord({ owner, link, bootAddress, addresses, routes }: GuestRecord): string {
  return JSON.stringify([
    'isle',
    owner,
    link ?? '',
    bootAddress ?? '',
    addresses.map(({ address, prefixLength }) => `${formatAddress(address)}/${prefixLength}`),
    routes.map(
      ({ destination, prefixLength, gateway }) =>
        `${destination ? formatAddress(destination) : ''}/${prefixLength}/${gateway ? formatAddress(gateway) : ''}`,
    ),
  ]);
}

function parseRecord(alias: string): GuestRecord | undefined {
  if (!alias.startsWith('["isle",')) return undefined;
  const [, owner, link, bootAddress, addresses, routes] = JSON.parse(alias) as [
    string,
    number,
    string,
    string,
    string[],
    string[],
  ];
  return {
    owner,
    link: link || undefined,
    bootAddress: bootAddress || undefined,
    addresses: addresses.map((text) => {
      const [address, prefixLength] = text.split('/');
      return { address: parseAddress(address!)!, prefixLength: Number(prefixLength) };
    }),
    routes: routes.map((text) => {
      const [destination, prefixLength, gateway] = text.split('/');
      return {
        destination: parseAddress(destination!),
        prefixLength: Number(prefixLength),
        gateway: parseAddress(gateway!),
      };
    }),
  };
}
