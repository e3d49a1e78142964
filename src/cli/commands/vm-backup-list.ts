import { resolve } from 'node:path';
import { formatBinaryBytes } from '../../lib/units.ts';
import { defineCommand } from '../command.ts';
import { text } from '../flags.ts';
import { listFlags, printListing } from '../list-output.ts';
import { type BackupsBody, bytesOf } from '../vm/backups.ts';

export const command = defineCommand({
  usage: '[OPTIONS] DIR',
  about:
    'Lists the backups of machines in a directory, oldest first. Those that are damaged are told with their files; exit code 1.',
  examples: [
    { run: 'vm backup-list /backups', does: 'all of them' },
    { run: 'vm backup-list --machine web -q /backups', does: 'ids of those of one machine' },
  ],
  flags: { ...listFlags, machine: text('Of this machine only', { value: 'NAME', complete: 'machine' }) },
  args: [1, 1],
  complete: ['file'],
  async run(context, { args: [directory = ''], flags }) {
    const { Backups, Damaged } = await context.client.get<BackupsBody>('/isle/v1/backups', {
      repository: resolve(directory),
    });
    const wanted = ({ Machine }: { Machine: { Id: string; Name: string } }): boolean =>
      flags.machine === undefined || Machine.Name === flags.machine || Machine.Id.startsWith(flags.machine);
    await printListing(context, flags, {
      rows: Backups.filter(wanted),
      columns: [
        { title: 'BACKUP', cell: (row) => row.Id },
        { title: 'MACHINE', shrink: 8, cell: (row) => row.Machine.Name },
        { title: 'TAKEN', cell: (row) => row.CreatedAt.slice(0, 19).replace('T', ' ') },
        { title: 'KIND', cell: (row) => row.Mode },
        { title: 'SIZE', align: 'right', cell: (row) => formatBinaryBytes(bytesOf(row)) },
        { title: 'STANDS ON', cell: (row) => row.Parent ?? '' },
      ],
      id: (row) => row.Id,
      fields: (row) => ({
        ID: row.Id,
        Machine: row.Machine.Name,
        MachineID: row.Machine.Id,
        CreatedAt: row.CreatedAt,
        Mode: row.Mode,
        Reason: row.Reason ?? '',
        Parent: row.Parent ?? '',
        Quiesced: String(row.Quiesced),
        Size: String(bytesOf(row)),
      }),
    });
    for (const { Id, File, Why } of Damaged) context.err.line(`${Id} is damaged: ${File}: ${Why}`);
    return Damaged.length > 0 ? 1 : 0;
  },
});
