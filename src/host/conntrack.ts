import { NetworkJob } from './network-job.ts';
import { NLM_F, attributes, message, split, type Message } from './netlink-message.ts';

/** A tracked UDP flow, by the addresses of its first packet and of the answers. */
export interface UdpFlow {
  destination: Buffer;
  destinationPort: number;
  /** Who answers: differs from `destination` when the kernel redirects the flow. */
  answeredBy: Buffer;
}

/**
 * Forgets the UDP flows that `stale` picks: the kernel redirects a flow as it did its first packet, so that a client
 * that goes on sending from one port would never reach who has the published port now.
 * Numbers: linux/netfilter/nfnetlink_conntrack.h.
 */
export async function forgetUdpFlows(stale: (flow: UdpFlow) => boolean): Promise<void> {
  // Flows come and go all the time: those that were there all along are in the list.
  const list = new NetworkJob().netfilter([conntrack(1, NLM_F.dump, 0, [])], { tolerate: true });
  const { replies } = await list.run();
  const found: Message[] = [];
  for (const { body } of split(replies[0]!)) {
    const flow = attributes(body.subarray(4));
    const original = flow.get(1);
    const first = readTuple(original);
    const answer = readTuple(flow.get(2));
    if (!original || first?.protocol !== 17 || !answer) continue;
    const { destination, destinationPort } = first;
    if (!stale({ destination, destinationPort, answeredBy: answer.source })) continue;
    found.push(conntrack(2, NLM_F.ack, body[0]!, [{ type: 1 | 0x8000, value: original }]));
  }
  await new NetworkJob().netfilter(found, { tolerate: true }).run();
}

function readTuple(
  data: Buffer | undefined,
): { source: Buffer; destination: Buffer; protocol: number; destinationPort: number } | undefined {
  if (data === undefined) return undefined;
  const tuple = attributes(data);
  const ip = attributes(tuple.get(1) ?? Buffer.alloc(0));
  const ports = attributes(tuple.get(2) ?? Buffer.alloc(0));
  const source = ip.get(1) ?? ip.get(3);
  const destination = ip.get(2) ?? ip.get(4);
  const port = ports.get(3);
  if (!source || !destination || !port) return undefined;
  return { source, destination, protocol: ports.get(1)?.[0] ?? 0, destinationPort: port.readUInt16BE(0) };
}

/** Type 1 is IPCTNL_MSG_CT_GET, 2 IPCTNL_MSG_CT_DELETE. */
function conntrack(
  type: number,
  flags: number,
  family: number,
  list: Parameters<typeof message>[3],
): Message {
  return message((1 << 8) | type, flags, Buffer.from([family, 0, 0, 0]), list);
}
