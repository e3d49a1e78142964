import { isIP } from 'node:net';
import type { MachineInfo } from '../../../engine/machine.ts';
import { isIsleError } from '../../../lib/errors.ts';
import { openAgent, type AgentMachine } from './agent.ts';

/** Milliseconds: who looks at a machine waits no longer for its guest. */
const patience = 2000;

type GuestInfo = NonNullable<MachineInfo['guest']>;

/** What the guest says of itself, as far as it can be shown. Undefined when no agent answers. */
export async function guestInfo(machine: AgentMachine): Promise<GuestInfo | undefined> {
  try {
    await using agent = await openAgent(machine, { patience });
    const ask = (command: string): Promise<unknown> =>
      agent.execute(command, undefined, { patience }).catch((error: unknown) => {
        if (!isIsleError(error, 'guestFailed')) throw error;
      });
    const [name, os, links] = [
      await ask('guest-get-host-name'),
      await ask('guest-get-osinfo'),
      await ask('guest-network-get-interfaces'),
    ];
    const hostname = text(name, 'host-name');
    const system = text(os, 'pretty-name') ?? text(os, 'name') ?? text(os, 'id');
    return { ...(hostname && { hostname }), ...(system && { os: system }), addresses: addressesOf(links) };
  } catch (error) {
    if (!isIsleError(error, 'guestAgentMissing', 'guestUnresponsive', 'guestGone', 'guestBroken'))
      throw error;
    return undefined;
  }
}

/** Of all but loopback. */
function addressesOf(links: unknown): GuestInfo['addresses'] {
  return listOf(links)
    .slice(0, 64)
    .flatMap((link) => {
      const name = text(link, 'name') ?? '';
      return listOf(field(link, 'ip-addresses'))
        .slice(0, 64)
        .flatMap((one) => {
          const address = text(one, 'ip-address') ?? '';
          const isOwn =
            isIP(address.split('%')[0]!) !== 0 && address !== '::1' && !address.startsWith('127.');
          const prefix = field(one, 'prefix');
          return isOwn
            ? [{ interface: name, address: typeof prefix === 'number' ? `${address}/${prefix}` : address }]
            : [];
        });
    });
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

/** Something to show on a terminal: short, and without anything that moves its cursor. */
function text(value: unknown, key: string): string | undefined {
  const found = field(value, key);
  if (typeof found !== 'string') return undefined;
  // oxlint-disable-next-line no-control-regex
  const clean = found.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '').slice(0, 200);
  return clean === '' ? undefined : clean;
}
