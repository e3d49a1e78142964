import { defineCommand } from '../command.ts';
import { longFilterFlag } from '../filters.ts';
import { boolean } from '../flags.ts';
import { prune, pruneImages } from '../prune.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [
    { run: 'image prune', does: 'those without a name' },
    { run: 'image prune -a --filter until=240h', does: 'all that no container uses, older than ten days' },
  ],
  flags: {
    all: boolean('Every unused image, not only those without a name', { short: 'a' }),
    filter: longFilterFlag,
    force: boolean('Do not ask', { short: 'f' }),
  },
  args: [0, 0],
  async run(context, { flags }) {
    return prune(context, {
      force: flags.force,
      question: flags.all
        ? 'This will remove all images without at least one container associated to them.'
        : 'This will remove all dangling images.',
      run: async (client) => [await pruneImages(client, flags.all, flags.filter)],
    });
  },
});
