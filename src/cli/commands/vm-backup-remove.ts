import { resolve } from 'node:path';
import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { boolean, integerWithin } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] DIR BACKUP|NAME',
  about:
    'Removes a backup, or with --keep all but the newest of a machine. One that others stand on goes only together with them.',
  examples: [
    { run: 'vm backup-remove /backups 20260131T030000Z-0badcafe', does: 'one that nothing stands on' },
    {
      run: 'vm backup-remove --keep 7 /backups web',
      does: 'all of web but the newest seven, and what those stand on',
    },
  ],
  flags: {
    dependents: boolean('With those that stand on it'),
    keep: integerWithin(1, 1_000_000, 'Of a machine: all but that many, the newest', { value: 'N' }),
  },
  args: [2, 2],
  complete: ['file'],
  async run(context, { args: [directory = '', backup = ''], flags }) {
    const repository = resolve(directory);
    if (flags.keep !== undefined && flags.dependents)
      throw new Failure('--dependents says nothing beside --keep: what stands on others goes with them');
    const { client } = context;
    const { Removed } = await (flags.keep === undefined
      ? client.delete<{ Removed: string[] }>(`/isle/v1/backups/${encodeURIComponent(backup)}`, {
          repository,
          dependents: flags.dependents,
        })
      : client.post<{ Removed: string[] }>('/isle/v1/backups/prune', {
          body: { Repository: repository, Machine: backup, Keep: flags.keep },
        }));
    for (const id of Removed) context.out.line(id);
    return 0;
  },
});
