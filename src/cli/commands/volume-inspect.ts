import { defineCommand } from '../command.ts';
import { inspect, inspectFlags } from '../inspection.ts';

export const command = defineCommand({
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  examples: [{ run: 'volume inspect data', does: 'everything about it' }],
  flags: { ...inspectFlags },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['volume'],
  run(context, { args, flags }) {
    return inspect(context, args, ['volume'], { format: flags.format });
  },
});
