import { formatBinaryBytes } from '../../lib/units.ts';
import type { StoredDiskBody } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { text } from '../flags.ts';
import { listFlags, printListing } from '../list-output.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  about: 'Disks of the store: those of machines, and those that were kept when their machine was removed.',
  examples: [{ run: 'vm vol-list', does: 'whose they are, and how large' }],
  flags: { ...listFlags, pool: text('Accepted: there is one store', { hidden: true }) },
  args: [0, 1],
  async run(context, { flags }) {
    const rows = await context.client.get<StoredDiskBody[]>('/isle/v1/disks');
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'NAME', cell: ({ Id }) => Id },
        { title: 'MACHINE', shrink: 8, cell: ({ Machine }) => Machine ?? '-' },
        { title: 'STANDS ON', shrink: 8, cell: ({ Base }) => Base ?? '' },
        { title: 'FORMAT', cell: ({ Format }) => Format },
        { title: 'USED', align: 'right', cell: ({ Allocated }) => formatBinaryBytes(Allocated) },
        { title: 'SIZE', align: 'right', cell: ({ Size }) => formatBinaryBytes(Size) },
      ],
      id: ({ Id }) => Id,
      fields: (disk) => ({
        Name: disk.Id,
        Machine: disk.Machine ?? '',
        Base: disk.Base ?? '',
        Format: disk.Format,
        Allocated: String(disk.Allocated),
        Size: String(disk.Size),
        CreatedAt: disk.CreatedAt,
        Snapshots: disk.Snapshots.join(','),
      }),
    });
  },
});
