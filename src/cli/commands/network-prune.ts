import { defineCommand } from '../command.ts';
import { encodeFilters, longFilterFlag } from '../filters.ts';
import { boolean } from '../flags.ts';
import { prune } from '../prune.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [{ run: 'network prune', does: 'those that no container is connected to' }],
  flags: { filter: longFilterFlag, force: boolean('Do not ask', { short: 'f' }) },
  args: [0, 0],
  async run(context, { flags }) {
    return prune(context, {
      force: flags.force,
      question: 'This will remove all custom networks not used by at least one container.',
      run: async (client) => {
        const answer = await client.post<{ NetworksDeleted: string[] | null }>('/networks/prune', {
          query: { filters: encodeFilters(flags.filter) },
        });
        return [{ title: 'Deleted Networks', removed: answer.NetworksDeleted ?? [] }];
      },
    });
  },
});
