import { defineCommand } from '../command.ts';
import { eachAsContainer } from '../vm/machine.ts';

export const command = defineCommand({
  usage: 'NAME [NAME...]',
  about: 'Of a machine that vm suspend froze. A saved one goes on by vm start.',
  examples: [{ run: 'vm resume deb', does: 'it goes on' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running-machine'],
  run(context, { args }) {
    return eachAsContainer(context, args, 'unpause', 'resuming');
  },
});
