import type { SnapshotBody } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { snapshotsPath } from '../each-name.ts';
import { listFlags, printListing } from '../list-output.ts';
import { ago, formatSum } from '../words.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER',
  examples: [{ run: 'snapshot ls deb', does: 'oldest first' }],
  flags: listFlags,
  args: [1, 1],
  complete: ['container'],
  async run(context, { args: [container = ''], flags }) {
    const rows = await context.client.get<SnapshotBody[]>(snapshotsPath(container));
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'NAME', shrink: 12, cell: (row) => row.Name },
        { title: 'CREATED', cell: (row) => ago(row.CreatedAt) },
        { title: 'SIZE', align: 'right', cell: (row) => formatSum(row.Size) },
        { title: 'COMMENT', shrink: 12, cell: (row) => row.Comment },
      ],
      id: (row) => row.Name,
      fields: (row) => ({
        Name: row.Name,
        CreatedAt: row.CreatedAt,
        Size: String(row.Size),
        Inodes: String(row.Inodes),
        Comment: row.Comment,
      }),
    });
  },
});
