import type { NetworkBody } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { encodeFilters, filterFlag } from '../filters.ts';
import { listFlags, printListing } from '../list-output.ts';
import { formatLabels, shortened } from '../words.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [{ run: 'network ls -f driver=bridge', does: 'those with an own bridge' }],
  flags: { filter: filterFlag, ...listFlags },
  args: [0, 0],
  async run(context, { flags }) {
    const answer = await context.client.get<NetworkBody[]>('/networks', {
      filters: encodeFilters(flags.filter),
    });
    const full = flags['no-trunc'];
    await printListing(context, flags, {
      rows: answer.toSorted((a, b) => (a.Name < b.Name ? -1 : 1)),
      columns: [
        { title: 'NETWORK ID', cell: (row) => shortened(row.Id, full) },
        { title: 'NAME', shrink: 12, cell: (row) => row.Name },
        { title: 'DRIVER', cell: (row) => row.Driver },
        { title: 'SCOPE', cell: (row) => row.Scope },
      ],
      id: (row) => shortened(row.Id, full),
      fields: (row) => ({
        ID: shortened(row.Id, full),
        Name: row.Name,
        Driver: row.Driver,
        Scope: row.Scope,
        IPv4: String(row.EnableIPv4 ?? true),
        IPv6: String(row.EnableIPv6),
        Internal: String(row.Internal),
        Labels: formatLabels(row.Labels),
        CreatedAt: row.Created,
      }),
    });
  },
});
