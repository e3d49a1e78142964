import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { encodeFilters, longFilterFlag } from '../filters.ts';
import { prune } from '../prune.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [{ run: 'container prune --filter until=24h', does: 'those created more than a day ago' }],
  flags: { filter: longFilterFlag, force: boolean('Do not ask', { short: 'f' }) },
  args: [0, 0],
  async run(context, { flags }) {
    return prune(context, {
      force: flags.force,
      question: 'This will remove all stopped containers.',
      run: async (client) => {
        const answer = await client.post<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }>(
          '/containers/prune',
          { query: { filters: encodeFilters(flags.filter) } },
        );
        return [
          {
            title: 'Deleted Containers',
            removed: answer.ContainersDeleted ?? [],
            bytes: answer.SpaceReclaimed,
          },
        ];
      },
    });
  },
});
