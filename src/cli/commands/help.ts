import { defineCommand } from '../command.ts';
import { printHelp } from '../help.ts';

export const command = defineCommand({
  usage: '[COMMAND]',
  examples: [{ run: 'help run', does: 'about one command, with examples' }],
  flags: {},
  args: [0, 2],
  complete: ['command'],
  run(context, { args }) {
    return printHelp(context, args);
  },
});
