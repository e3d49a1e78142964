import { formatBinaryBytes } from '../../lib/units.ts';
import type { MachineDiskUsage } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { listFlags, printListing } from '../list-output.ts';
import { whereOf } from '../vm/details.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  examples: [{ run: 'vm domblklist deb', does: 'its disks and CDs, and how large they are' }],
  flags: listFlags,
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [name = ''], flags }) {
    const [disks, { Hardware }] = await Promise.all([
      context.client.get<MachineDiskUsage[]>(`${machinePath(name)}/disks`),
      getMachine(context, name),
    ]);
    const cds = Hardware.Cdroms.map(({ Target, Path }) => ({ Target, where: Path ?? '-', format: 'CD' }));
    const rows = [
      ...disks.map((disk) => ({ Target: disk.Target, where: whereOf(disk), format: disk.Format, disk })),
      ...cds.map((cd) => ({ ...cd, disk: undefined })),
    ];
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'TARGET', cell: (row) => row.Target },
        { title: 'SOURCE', shrink: 16, cell: (row) => row.where },
        { title: 'FORMAT', cell: (row) => row.format },
        { title: 'BUS', cell: (row) => row.disk?.Bus ?? '' },
        {
          title: 'USED',
          align: 'right',
          cell: (row) => (row.disk ? formatBinaryBytes(row.disk.Allocated) : ''),
        },
        { title: 'SIZE', align: 'right', cell: (row) => (row.disk ? formatBinaryBytes(row.disk.Size) : '') },
      ],
      id: (row) => row.Target,
      fields: (row) => ({
        Target: row.Target,
        Source: row.where,
        Format: row.format,
        Bus: row.disk?.Bus ?? '',
        Allocated: String(row.disk?.Allocated ?? ''),
        Size: String(row.disk?.Size ?? ''),
        Snapshots: row.disk?.Snapshots.join(',') ?? '',
      }),
    });
  },
});
