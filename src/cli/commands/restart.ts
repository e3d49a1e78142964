import { defineCommand } from '../command.ts';
import { endEach, endingFlags } from '../ending.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [{ run: 'restart web', does: 'stop it and start it again' }],
  flags: endingFlags,
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running'],
  run(context, { args, flags }) {
    return endEach(context, args, flags, 'restart', 'restarting');
  },
});
