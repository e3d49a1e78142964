import { answerDhcp } from './dhcp4-server.ts';
import { answerDhcp6 } from './dhcp6-server.ts';
import { parseFrame } from './frames.ts';
import type { GuestLease, GuestNews } from './lease.ts';
import { advertise } from './router.ts';

/** The frame that answers what came by a guest's tap: from its own station alone, and at most one for each. */
export function answerFrame(frame: Buffer, lease: GuestLease, heard?: GuestNews): Buffer | undefined {
  const packet = parseFrame(frame);
  if (packet === undefined || !packet.fromMac.equals(lease.macAddress)) return undefined;
  if (packet.kind === 'icmp6') return advertise(lease, packet);
  if (packet.from.length === 4) return answerDhcp(packet, lease, heard);
  return answerDhcp6(packet, lease, heard);
}
