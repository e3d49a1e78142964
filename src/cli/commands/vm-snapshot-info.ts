import type { MachineSnapshotBody } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { machineSnapshotPath, machineSnapshotsPath, snapshotName } from '../vm/snapshots.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [SNAPSHOT]',
  examples: [
    { run: 'vm snapshot-info deb before-upgrade', does: 'its parent, its children, whether it has memory' },
    { run: 'vm snapshot-info deb --current', does: 'the one that the disks stand on' },
  ],
  flags: { current: boolean('The one that the disks stand on') },
  args: [1, 2],
  complete: ['machine'],
  async run(context, { args: [machine = '', asked], flags }) {
    const name = await snapshotName(context, machine, asked, flags.current);
    const found = await context.client.get<MachineSnapshotBody>(machineSnapshotPath(machine, name));
    const all = await context.client.get<MachineSnapshotBody[]>(machineSnapshotsPath(machine));
    const children = all.filter(({ Parent }) => Parent === name).map(({ Name }) => Name);
    const rows: [string, string][] = [
      ['Name', found.Name],
      ['Machine', machine],
      ['Current', found.Current ? 'yes' : 'no'],
      ['State', found.Memory ? 'running' : 'disk-snapshot'],
      ['Created', found.CreatedAt],
      ['Parent', found.Parent ?? '-'],
      ['Children', children.join(', ') || '-'],
      ['Disks', found.Disks.join(', ')],
      ['Description', found.Comment || '-'],
    ];
    for (const [title, value] of rows) context.out.line(`${`${title}:`.padEnd(16)}${value}`);
  },
});
