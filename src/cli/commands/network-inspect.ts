import { defineCommand } from '../command.ts';
import { inspect, inspectFlags } from '../inspection.ts';
import { boolean } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  examples: [{ run: 'network inspect backend', does: 'everything about it' }],
  flags: { ...inspectFlags, verbose: boolean('Accepted and ignored', { short: 'v', hidden: true }) },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['network'],
  run(context, { args, flags }) {
    return inspect(context, args, ['network'], { format: flags.format });
  },
});
