import { defineCommand } from '../command.ts';
import { encodeFilters, longFilterFlag } from '../filters.ts';
import { boolean } from '../flags.ts';
import { prune } from '../prune.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [{ run: 'volume prune -a', does: 'all that no container uses, named ones too' }],
  flags: {
    all: boolean('Named volumes too', { short: 'a' }),
    filter: longFilterFlag,
    force: boolean('Do not ask', { short: 'f' }),
  },
  args: [0, 0],
  async run(context, { flags }) {
    const filters = flags.all ? [...flags.filter, ['all', '1'] as const] : flags.filter;
    return prune(context, {
      force: flags.force,
      question: flags.all
        ? 'This will remove all volumes not used by at least one container.'
        : 'This will remove anonymous volumes not used by at least one container.',
      run: async (client) => {
        const answer = await client.post<{ VolumesDeleted: string[] | null; SpaceReclaimed: number }>(
          '/volumes/prune',
          { query: { filters: encodeFilters(filters) } },
        );
        return [
          { title: 'Deleted Volumes', removed: answer.VolumesDeleted ?? [], bytes: answer.SpaceReclaimed },
        ];
      },
    });
  },
});
