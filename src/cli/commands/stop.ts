import { defineCommand } from '../command.ts';
import { endEach, endingFlags } from '../ending.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [{ run: 'stop -t 30 db', does: 'give it half a minute to end by itself' }],
  flags: endingFlags,
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running'],
  run(context, { args, flags }) {
    return endEach(context, args, flags, 'stop', 'stopping');
  },
});
