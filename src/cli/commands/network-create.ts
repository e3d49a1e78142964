import { defineCommand } from '../command.ts';
import { toMap } from '../container/environment.ts';
import { Failure } from '../failure.ts';
import { boolean, commaList, list, maybeBoolean, text, textOr } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NETWORK',
  about: 'Containers on the same network find each other by name.',
  examples: [
    { run: 'network create backend', does: 'a network of its own' },
    { run: 'network create --internal --subnet 10.9.0.0/24 db', does: 'without a way out' },
  ],
  flags: {
    attachable: boolean('Accepted: containers may always be attached'),
    'aux-address': list('Addresses to keep free (name=address)', { value: 'map' }),
    'config-from': text('Network to copy the configuration from', { hidden: true }),
    'config-only': boolean('Only a configuration', { hidden: true }),
    driver: textOr('bridge', 'Network driver', { short: 'd' }),
    gateway: commaList('Gateway of a subnet'),
    ingress: boolean('For swarm', { hidden: true }),
    internal: boolean('No way out of it'),
    'ip-range': commaList('Give addresses out of this part of a subnet'),
    'ipam-driver': textOr('default', 'Address management driver'),
    'ipam-opt': list('Address management options', { value: 'map' }),
    ipv4: maybeBoolean('IPv4 addresses (on unless switched off)'),
    ipv6: maybeBoolean('IPv6 addresses'),
    label: list('Label (key=value)'),
    opt: list('Driver options (key=value)', { short: 'o', value: 'map' }),
    scope: text("Network's scope", { hidden: true }),
    subnet: commaList('Subnet (10.9.0.0/24)'),
  },
  args: [1, 1],
  async run({ client, out, err }, { args: [name = ''], flags }) {
    const body = {
      Name: name,
      CheckDuplicate: true,
      Driver: flags.driver,
      Scope: flags.scope,
      Internal: flags.internal,
      Attachable: flags.attachable,
      Ingress: flags.ingress,
      ConfigOnly: flags['config-only'],
      ConfigFrom: flags['config-from'] === undefined ? undefined : { Network: flags['config-from'] },
      EnableIPv4: flags.ipv4,
      EnableIPv6: flags.ipv6,
      Options: toMap(flags.opt),
      Labels: toMap(flags.label),
      IPAM: {
        Driver: flags['ipam-driver'],
        Options: toMap(flags['ipam-opt']),
        Config: toPools(flags),
      },
    };
    const answer = await client.post<{ Id: string; Warning?: string }>('/networks/create', { body });
    if (answer.Warning) err.line(`isle: warning: ${answer.Warning}`);
    out.line(answer.Id);
  },
});

interface Pool {
  Subnet: string;
  IPRange?: string;
  Gateway?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

/** Ranges, gateways and kept addresses go to the subnet that holds them. */
export function toPools(flags: {
  subnet: string[];
  'ip-range': string[];
  gateway: string[];
  'aux-address': string[];
}): Pool[] {
  const pools: Pool[] = flags.subnet.map((Subnet) => ({ Subnet }));
  const home = (address: string, what: string): Pool => {
    const found = pools.find(({ Subnet }) => contains(Subnet, address));
    if (!found) throw new Failure(`no matching subnet for ${what} ${address}`);
    return found;
  };
  for (const range of flags['ip-range']) {
    const pool = home(range.split('/')[0]!, 'range');
    if (pool.IPRange !== undefined)
      throw new Failure(
        `cannot configure multiple ranges (${range}, ${pool.IPRange}) on the same subnet (${pool.Subnet})`,
      );
    pool.IPRange = range;
  }
  for (const gateway of flags.gateway) {
    const pool = home(gateway, 'gateway');
    if (pool.Gateway !== undefined)
      throw new Failure(
        `cannot configure multiple gateways (${gateway}, ${pool.Gateway}) for the same subnet (${pool.Subnet})`,
      );
    pool.Gateway = gateway;
  }
  for (const [name, address] of Object.entries(toMap(flags['aux-address'])))
    (home(address, 'aux-address').AuxiliaryAddresses ??= {})[name] = address;
  return pools;
}

function contains(subnet: string, address: string): boolean {
  const [base = '', bits = ''] = subnet.split('/');
  const a = toNumber(base);
  const b = toNumber(address);
  if (!a || !b || !/^\d+$/.test(bits)) throw new Failure(`invalid subnet or address: ${subnet}, ${address}`);
  if (a.width !== b.width) return false;
  const shift = BigInt(Math.max(0, a.width - Number(bits)));
  return a.value >> shift === b.value >> shift;
}

function toNumber(address: string): { value: bigint; width: number } | undefined {
  if (/^\d+(\.\d+){3}$/.test(address))
    return { value: address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n), width: 32 };
  if (!/^[0-9a-f:]+$/i.test(address) || !address.includes(':')) return undefined;
  const [head = '', tail] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const after = tail === undefined ? [] : groups(tail);
  const before = groups(head);
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0');
  const all = [...before, ...zeros, ...after];
  if (all.length !== 8) return undefined;
  return { value: all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n), width: 128 };
}
