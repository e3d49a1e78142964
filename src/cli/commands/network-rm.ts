import { ApiError } from '../client/errors.ts';
import { defineCommand } from '../command.ts';
import { eachName } from '../each-name.ts';
import { boolean } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  examples: [{ run: 'network rm backend', does: 'gone' }],
  flags: { force: boolean('A missing one is no error', { short: 'f' }) },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['network'],
  run(context, { args, flags }) {
    return eachName(context, args, async (name) => {
      try {
        await context.client.delete(`/networks/${encodeURIComponent(name)}`);
      } catch (error) {
        if (!(flags.force && error instanceof ApiError && error.status === 404)) throw error;
      }
    });
  },
});
