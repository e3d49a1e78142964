import { defineCommand } from '../command.ts';
import { inspect, inspectFlags } from '../inspection.ts';
import { text } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  examples: [{ run: 'image inspect debian', does: 'everything about it' }],
  flags: { ...inspectFlags, platform: text('Platform', { hidden: true }) },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['image'],
  run(context, { args, flags }) {
    return inspect(context, args, ['image'], { format: flags.format });
  },
});
