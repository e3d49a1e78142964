import { NetworkJob } from './network-job.ts';
import {
  NLM_F,
  be32,
  bytes,
  message,
  nested,
  text,
  type Attribute,
  type Message,
} from './netlink-message.ts';
import { runOk } from './run.ts';

/**
 * nftables two ways: whole tables as text through `nft` (rare: start, repair), and single elements of its sets and
 * maps straight to the kernel (each published port), which takes no process. Both are atomic.
 * Numbers are those of linux/netfilter/nf_tables.h.
 */

const NFT = {
  newTable: 0,
  getTable: 1,
  delTable: 2,
  newChain: 3,
  newRule: 6,
  newElement: 12,
  delElement: 14,
};
const FAMILY = { unspec: 0, inet: 1, ipv4: 2 };

/** One element of a set or map of the instance's `inet` table, its fields padded to four bytes each. */
export interface ElementChange {
  action: 'add' | 'delete';
  set: string;
  key: Buffer;
  /** The end of an interval that begins with `key`. */
  keyEnd?: Buffer;
  data?: Buffer;
}

/** Applies a script, all or nothing. Throws `hostTool` with what nft said. */
export async function applyRuleset(script: string): Promise<void> {
  await runOk('nft', ['-f', '-'], { input: script });
}

/** Changes elements, all or nothing. Rejects with ENOENT when the table or an element is not there. */
export async function changeElements(table: string, changes: readonly ElementChange[]): Promise<void> {
  if (changes.length === 0) return;
  await new NetworkJob().netfilter(elementBatch(table, changes)).run();
}

/** Only the last element is acknowledged: the first error ends the batch, and thousands of answers would not fit. */
function elementBatch(table: string, changes: readonly ElementChange[]): Message[] {
  const last = changes.length - 1;
  return batch(changes.map((change, index) => elementMessage(table, change, index === last ? NLM_F.ack : 0)));
}

/** Deletes the instance's table; none there is fine. */
export async function deleteTable(table: string): Promise<void> {
  const request = nfMessage(NFT.delTable, NLM_F.ack, FAMILY.inet, [text(1, table)]);
  await new NetworkJob().netfilter(batch([request]), { tolerate: true }).run();
}

/**
 * Rules for a pod's own namespace: what it sends to `address`:53 goes to `address`:`port`, where the resolver
 * listens, so that the pod's port 53 stays its own. Replaces such rules of before.
 */
export function redirectDns(address: Buffer, port: number): Message[] {
  const table = 'isle_dns';
  const chain = 'output';
  const hook = [be32(1, 3), be32(2, -100)];
  return batch([
    // Added first, so that the deletion always finds one.
    nfMessage(NFT.newTable, NLM_F.create | NLM_F.ack, FAMILY.ipv4, [text(1, table)]),
    nfMessage(NFT.delTable, NLM_F.ack, FAMILY.ipv4, [text(1, table)]),
    nfMessage(NFT.newTable, NLM_F.create | NLM_F.ack, FAMILY.ipv4, [text(1, table)]),
    nfMessage(NFT.newChain, NLM_F.create | NLM_F.ack, FAMILY.ipv4, [
      text(1, table),
      text(3, chain),
      nested(4, hook),
      text(7, 'nat'),
    ]),
    ...[6, 17].map((protocol) =>
      nfMessage(NFT.newRule, NLM_F.create | NLM_F.append | NLM_F.ack, FAMILY.ipv4, [
        text(1, table),
        text(2, chain),
        nested(4, redirectRule(protocol, address, port)),
      ]),
    ),
  ]);
}

/** `ip daddr ADDRESS (tcp|udp) dport 53 dnat to ADDRESS:PORT`, as nft compiles it. */
function redirectRule(protocol: number, address: Buffer, port: number): Attribute[] {
  const NETWORK_HEADER = 1;
  const TRANSPORT_HEADER = 2;
  const META_L4PROTO = 16;
  return [
    expression('payload', [be32(1, 1), be32(2, NETWORK_HEADER), be32(3, 16), be32(4, 4)]),
    compare(address),
    expression('meta', [be32(2, META_L4PROTO), be32(1, 1)]),
    compare(Buffer.from([protocol])),
    expression('payload', [be32(1, 1), be32(2, TRANSPORT_HEADER), be32(3, 2), be32(4, 2)]),
    compare(be16(53)),
    expression('immediate', [be32(1, 1), nested(2, [bytes(1, address)])]),
    expression('immediate', [be32(1, 2), nested(2, [bytes(1, be16(port))])]),
    expression('nat', [be32(1, 1), be32(2, FAMILY.ipv4), be32(3, 1), be32(5, 2), be32(7, 2)]),
  ];
}

function expression(name: string, data: Attribute[]): Attribute {
  return nested(1, [text(1, name), nested(2, data)]);
}

/** Register 1 equals `value`. */
function compare(value: Buffer): Attribute {
  return expression('cmp', [be32(1, 1), be32(2, 0), nested(3, [bytes(1, value)])]);
}

function elementMessage(table: string, change: ElementChange, ack: number): Message {
  const { action, set, key, keyEnd, data } = change;
  const element = [nested(1, [bytes(1, key)])];
  if (keyEnd !== undefined) element.push(nested(10, [bytes(1, keyEnd)]));
  if (data !== undefined && action === 'add') element.push(nested(2, [bytes(1, data)]));
  const [type, flags] = action === 'add' ? [NFT.newElement, NLM_F.create] : [NFT.delElement, 0];
  return nfMessage(type, flags | ack, FAMILY.inet, [
    text(1, table),
    text(2, set),
    nested(3, [nested(1, element)]),
  ]);
}

function batch(messages: Message[]): Message[] {
  const frame = (type: number): Message => message(type, 0, Buffer.from([FAMILY.unspec, 0, 0, 10]), []);
  return [frame(16), ...messages, frame(17)];
}

function nfMessage(type: number, flags: number, family: number, attributes: Attribute[]): Message {
  return message((10 << 8) | type, flags, Buffer.from([family, 0, 0, 0]), attributes);
}

function be16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
