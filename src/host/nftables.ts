import { NetworkJob } from './network-job.ts';
import { NLM_F, be32, bytes, nested, text, type Attribute, type Message } from './netlink-message.ts';
import {
  FAMILY,
  NFT,
  batch,
  be16,
  expression,
  field,
  load,
  nfMessage,
  protocolIs,
} from './nftables-message.ts';
import { runOk } from './run.ts';

/**
 * nftables two ways: whole tables as text through `nft` (rare: start, repair), and single elements of its sets and
 * maps straight to the kernel (each published port), which takes no process. Both are atomic.
 */

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
 * Rules for a pod's own namespace: what it, or its guest, sends to `address`:53 goes to `address`:`port`, where the
 * resolver listens, so that the pod's port 53 stays its own. Replaces such rules of before.
 */
export function redirectDns(address: Buffer, port: number): Message[] {
  const table = 'isle_dns';
  const dstnat = -100;
  // What its processes send, and what comes in: of that the kernel lets nothing else through to a loopback address
  // than what a guest sends (guest-rules.ts).
  const hooks = { output: 3, prerouting: 0 };
  return batch([
    // Added first, so that the deletion always finds one.
    nfMessage(NFT.newTable, NLM_F.create | NLM_F.ack, FAMILY.ipv4, [text(1, table)]),
    nfMessage(NFT.delTable, NLM_F.ack, FAMILY.ipv4, [text(1, table)]),
    nfMessage(NFT.newTable, NLM_F.create | NLM_F.ack, FAMILY.ipv4, [text(1, table)]),
    ...Object.entries(hooks).flatMap(([chain, hook]) => [
      nfMessage(NFT.newChain, NLM_F.create | NLM_F.ack, FAMILY.ipv4, [
        text(1, table),
        text(3, chain),
        nested(4, [be32(1, hook), be32(2, dstnat)]),
        text(7, 'nat'),
      ]),
      ...[6, 17].map((protocol) =>
        nfMessage(NFT.newRule, NLM_F.create | NLM_F.append | NLM_F.ack, FAMILY.ipv4, [
          text(1, table),
          text(2, chain),
          nested(4, redirectRule(protocol, address, port)),
        ]),
      ),
    ]),
  ]);
}

/** `ip daddr ADDRESS (tcp|udp) dport 53 dnat to ADDRESS:PORT` */
function redirectRule(protocol: number, address: Buffer, port: number): Attribute[] {
  return [
    ...field('network', 16, address),
    ...protocolIs(protocol),
    ...field('transport', 2, be16(53)),
    load(1, address),
    load(2, be16(port)),
    expression('nat', [be32(1, 1), be32(2, FAMILY.ipv4), be32(3, 1), be32(5, 2), be32(7, 2)]),
  ];
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
