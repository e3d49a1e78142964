import { formatBinaryBytes } from '../../lib/units.ts';
import type { MachineSummary } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { listFlags, printListing } from '../list-output.ts';
import { isOff, stateOf, statePaint } from '../vm/state.ts';
import { shortened } from '../words.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  about: 'Those that run; with --all every one. isle ps shows them beside containers.',
  examples: [
    { run: 'vm list', does: 'what runs' },
    { run: 'vm list --all', does: 'what is defined' },
    { run: "vm list --all --format '{{.Name}} {{.State}} {{.Addresses}}'", does: 'for scripts' },
  ],
  flags: {
    all: boolean('Those that are off, too', { short: 'a' }),
    inactive: boolean('Only those that are off'),
    ...listFlags,
  },
  args: [0, 0],
  async run(context, { flags }) {
    const { paint } = context.out;
    const all = await context.client.get<MachineSummary[]>('/isle/v1/machines');
    const rows = all.filter((row) => (flags.inactive ? isOff(row) : flags.all || !isOff(row)));
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'NAME', shrink: 12, cell: (row) => ({ text: row.Name, paint: paint.bold }) },
        { title: 'STATE', cell: (row) => ({ text: stateOf(row), paint: statePaint(row, paint) }) },
        { title: 'VCPUS', align: 'right', cell: (row) => String(row.Vcpus) },
        { title: 'MEMORY', align: 'right', cell: (row) => formatBinaryBytes(row.Memory) },
        { title: 'GUEST', shrink: 8, cell: (row) => row.OsVariant ?? row.Arch },
        { title: 'ADDRESSES', shrink: 12, cell: (row) => row.Addresses.join(', ') },
      ],
      id: (row) => row.Name,
      fields: (row) => ({
        ID: shortened(row.Id, flags['no-trunc']),
        Name: row.Name,
        State: stateOf(row),
        Status: row.Status,
        VCPUs: String(row.Vcpus),
        Memory: String(row.Memory),
        Arch: row.Arch,
        OSVariant: row.OsVariant ?? '',
        Addresses: row.Addresses.join(','),
        Autostart: String(row.Autostart),
      }),
    });
  },
});
