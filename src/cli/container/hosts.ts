import { isIP } from 'node:net';
import { Failure } from '../failure.ts';

/** `name:address`, `name=address`, `name:host-gateway`; brackets around IPv6 are dropped. */
export function parseExtraHost(given: string): string {
  const match = /^([^=:]+)[=:](.+)$/.exec(given);
  if (!match) throw new Failure(`bad format for add-host: "${given}"`);
  const [, name, address] = match as unknown as [string, string, string];
  if (address === 'host-gateway') return `${name}:${address}`;
  const bare = /^\[(.*)\]$/.exec(address)?.[1] ?? address;
  if (isIP(bare) === 0) throw new Failure(`invalid IP address in add-host: "${address}"`);
  return `${name}:${bare}`;
}

export function parseIp(given: string, complaint: string): string {
  const bare = given.trim();
  if (isIP(bare) === 0) throw new Failure(`${complaint}: ${given}`);
  return bare;
}
