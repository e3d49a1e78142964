import { attributes, bytes, message, NLM_F, patched, split, type Message } from './netlink-message.ts';

/** rtnetlink: addresses, routes and neighbours of the namespace a job is in. Numbers are those of linux/rtnetlink.h. */

const RTM = { newAddr: 20, delAddr: 21, getAddr: 22, newRoute: 24, getRoute: 26, newNeigh: 28 };
const AF = { inet: 2, inet6: 10 };
const SCOPE = { universe: 0, link: 253 };

export interface LinkAddress {
  link: number;
  address: Buffer;
  prefixLength: number;
  /** Somebody gave it the address for good, and not only on its link. */
  given: boolean;
}

export function dumpAddresses(): Message {
  return message(RTM.getAddr, NLM_F.dump, Buffer.alloc(8), []);
}

export function readAddresses(reply: Buffer): LinkAddress[] {
  const IFA_F_PERMANENT = 0x80;
  return split(reply)
    .filter(({ type }) => type === RTM.newAddr)
    .map(({ body }) => {
      const found = attributes(body.subarray(8));
      return {
        link: body.readUInt32LE(4),
        address: found.get(2) ?? found.get(1)!,
        prefixLength: body[1]!,
        given: body[3] === SCOPE.universe && (body[2]! & IFA_F_PERMANENT) !== 0,
      };
    });
}

export function deleteAddress(link: string, address: Buffer, prefixLength: number): Message {
  const header = Buffer.alloc(8);
  header[0] = familyOf(address);
  header[1] = prefixLength;
  const list = [bytes(2, address), bytes(1, address)];
  return message(RTM.delAddr, NLM_F.ack, header, list, [{ at: 4, value: { ifindexOf: link } }]);
}

export interface LinkRoute {
  /** Absent for a default route. */
  destination?: Buffer;
  prefixLength: number;
  /** Absent for what is on the link. */
  gateway?: Buffer;
}

export function dumpRoutes(): Message {
  return message(RTM.getRoute, NLM_F.dump, Buffer.alloc(12), []);
}

/** Unicast routes of the main table that somebody set: not those that come with an address, or from a neighbour. */
export function readRoutes(reply: Buffer): (LinkRoute & { link: number })[] {
  const notSet = [2, 9]; // the kernel's own, router advertisements
  const MAIN = 254;
  return split(reply)
    .filter(({ type, body }) => type === RTM.newRoute && body[7] === 1 && body[4] === MAIN)
    .filter(({ body }) => !notSet.includes(body[5]!))
    .map(({ body }) => {
      const found = attributes(body.subarray(12));
      return {
        destination: found.get(1),
        prefixLength: body[1]!,
        gateway: found.get(5),
        link: found.get(4)?.readUInt32LE(0) ?? 0,
      };
    });
}

/** Sets a route; the same one again is no error. */
export function setRoute(link: string, { destination, prefixLength, gateway }: LinkRoute): Message {
  const family = familyOf((destination ?? gateway)!);
  const scope = gateway === undefined && family === AF.inet ? SCOPE.link : SCOPE.universe;
  // struct rtmsg: main table, protocol static, unicast
  const header = Buffer.from([family, prefixLength, 0, 0, 254, 4, scope, 1, 0, 0, 0, 0]);
  const list = [patched(4, { ifindexOf: link })];
  if (destination !== undefined) list.push(bytes(1, destination));
  if (gateway !== undefined) list.push(bytes(5, gateway));
  return message(RTM.newRoute, NLM_F.ack | NLM_F.create | NLM_F.replace, header, list);
}

/** Says for good which station has the address. */
export function setNeighbour(link: string, address: Buffer, mac: Buffer): Message {
  const NUD_PERMANENT = 0x80;
  const header = Buffer.alloc(12);
  header[0] = familyOf(address);
  header.writeUInt16LE(NUD_PERMANENT, 8);
  const flags = NLM_F.ack | NLM_F.create | NLM_F.replace;
  const list = [bytes(1, address), bytes(2, mac)];
  return message(RTM.newNeigh, flags, header, list, [{ at: 4, value: { ifindexOf: link } }]);
}

function familyOf(address: Buffer): number {
  return address.length === 4 ? AF.inet : AF.inet6;
}
