import type { VolumeBody } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { encodeFilters, filterFlag } from '../filters.ts';
import { listFlags, printListing } from '../list-output.ts';
import { formatLabels } from '../words.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [{ run: 'volume ls -f dangling=true', does: 'those that no container uses' }],
  flags: { filter: filterFlag, ...listFlags },
  args: [0, 0],
  async run(context, { flags }) {
    const answer = await context.client.get<{ Volumes: VolumeBody[] | null }>('/volumes', {
      filters: encodeFilters(flags.filter),
    });
    const rows = (answer.Volumes ?? []).toSorted((a, b) => (a.Name < b.Name ? -1 : 1));
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'DRIVER', cell: (row) => row.Driver },
        { title: 'VOLUME NAME', cell: (row) => row.Name },
      ],
      id: (row) => row.Name,
      fields: (row) => ({
        Name: row.Name,
        Driver: row.Driver,
        Scope: row.Scope,
        Mountpoint: row.Mountpoint,
        Labels: formatLabels(row.Labels),
        Links: row.UsageData ? String(row.UsageData.RefCount) : 'N/A',
        Size: row.UsageData ? String(row.UsageData.Size) : 'N/A',
        Status: 'N/A',
        Group: 'N/A',
        Availability: 'N/A',
      }),
    });
  },
});
