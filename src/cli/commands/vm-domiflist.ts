import { defineCommand } from '../command.ts';
import { listFlags, printListing } from '../list-output.ts';
import { getMachine } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  examples: [{ run: 'vm domiflist deb', does: 'its network cards' }],
  flags: listFlags,
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [name = ''], flags }) {
    const { Networks: rows } = await getMachine(context, name);
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'NETWORK', shrink: 12, cell: (row) => row.Network },
        { title: 'MODEL', cell: (row) => row.Model },
        { title: 'MAC', cell: (row) => row.MacAddress ?? '-' },
        { title: 'ADDRESSES', shrink: 12, cell: (row) => [row.IPv4, row.IPv6].filter(Boolean).join(', ') },
      ],
      id: (row) => row.MacAddress ?? row.Network,
      fields: (row) => ({
        Network: row.Network,
        Model: row.Model,
        MacAddress: row.MacAddress ?? '',
        IPv4: row.IPv4 ?? '',
        IPv6: row.IPv6 ?? '',
      }),
    });
  },
});
