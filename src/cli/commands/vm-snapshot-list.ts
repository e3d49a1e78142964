import type { MachineSnapshotBody } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { listFlags, printListing } from '../list-output.ts';
import { machineSnapshotsPath, treeOf } from '../vm/snapshots.ts';
import { ago } from '../words.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  examples: [
    { run: 'vm snapshot-list deb', does: 'oldest first; * is what the disks stand on' },
    { run: 'vm snapshot-list deb --tree', does: 'which was taken after which' },
  ],
  flags: { ...listFlags, tree: boolean('As a tree'), name: boolean('Only the names') },
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [machine = ''], flags }) {
    const rows = await context.client.get<MachineSnapshotBody[]>(machineSnapshotsPath(machine));
    if (flags.tree || flags.name) {
      const lines = flags.tree ? treeOf(rows) : rows.map((row) => row.Name);
      for (const line of lines) context.out.line(line);
      return;
    }
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'NAME', shrink: 12, cell: (row) => (row.Current ? `${row.Name} *` : row.Name) },
        { title: 'CREATED', cell: (row) => ago(row.CreatedAt) },
        { title: 'STATE', cell: stateOf },
        { title: 'PARENT', shrink: 12, cell: (row) => row.Parent ?? '' },
        { title: 'DESCRIPTION', shrink: 12, cell: (row) => row.Comment },
      ],
      id: (row) => row.Name,
      fields: (row) => ({
        Name: row.Name,
        CreatedAt: row.CreatedAt,
        State: stateOf(row),
        Parent: row.Parent ?? '',
        Current: String(row.Current),
        Description: row.Comment,
      }),
    });
  },
});

/** In virsh's words. */
function stateOf({ Memory }: MachineSnapshotBody): string {
  return Memory ? 'running' : 'disk-snapshot';
}
