import type { MachineBody } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { choice } from '../flags.ts';
import { listFlags, printListing } from '../list-output.ts';
import { getMachine } from '../vm/machine.ts';

interface Row {
  name: string;
  mac: string;
  protocol: string;
  address: string;
}

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  about:
    'What Isle gave its network cards; with --source agent what the guest says that it has (its agent has to run). Names of other machines and containers resolve in it, so that addresses are seldom needed.',
  examples: [
    { run: 'vm domifaddr deb', does: 'its addresses' },
    { run: 'vm domifaddr --source agent --full deb', does: 'what the guest says, loopback too' },
    { run: "vm domifaddr --format '{{.Address}}' deb", does: 'for scripts' },
  ],
  flags: {
    source: choice(
      ['lease', 'agent', 'arp'],
      'What Isle gave (lease, the default), or what the guest has (agent)',
    ),
    full: choice(['true', 'false'], 'Accepted', { hidden: true, optional: () => false }),
    ...listFlags,
  },
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [name = ''], flags }) {
    const machine = await getMachine(context, name);
    const rows = flags.source === 'agent' ? fromGuest(machine) : given(machine);
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'NAME', cell: (row) => row.name },
        { title: 'MAC ADDRESS', cell: (row) => row.mac },
        { title: 'PROTOCOL', cell: (row) => row.protocol },
        { title: 'ADDRESS', cell: (row) => row.address },
      ],
      id: (row) => row.address,
      fields: (row) => ({
        Name: row.name,
        MacAddress: row.mac,
        Protocol: row.protocol,
        Address: row.address,
      }),
    });
  },
});

function given({ Networks }: MachineBody): Row[] {
  return Networks.flatMap(({ Network, MacAddress, IPv4, IPv6 }) =>
    [IPv4, IPv6].flatMap((address) => (address ? [rowOf(Network, MacAddress ?? '-', address)] : [])),
  );
}

function fromGuest({ Running }: MachineBody): Row[] {
  return (Running?.Guest?.Addresses ?? []).map(({ Interface, Address }) => rowOf(Interface, '-', Address));
}

function rowOf(name: string, mac: string, address: string): Row {
  return { name, mac, protocol: address.includes(':') ? 'ipv6' : 'ipv4', address };
}
