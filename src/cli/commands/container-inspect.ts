import { defineCommand } from '../command.ts';
import { inspect, inspectFlags, sizeFlag } from '../inspection.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [{ run: 'container inspect web', does: 'everything about it' }],
  flags: { ...inspectFlags, size: sizeFlag },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['container'],
  run(context, { args, flags }) {
    return inspect(context, args, ['container'], {
      format: flags.format,
      query: { size: flags.size || undefined },
    });
  },
});
