import { defineCommand } from '../command.ts';
import { eachAsContainer } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [NAME...]',
  about: 'A machine that was saved goes on where it was.',
  examples: [{ run: 'vm start deb', does: 'it boots; see: isle vm console deb' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['machine'],
  run(context, { args }) {
    return eachAsContainer(context, args, 'start', 'starting');
  },
});
