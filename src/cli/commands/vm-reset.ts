import { defineCommand } from '../command.ts';
import { eachMachine } from '../vm/machine.ts';

export const command = defineCommand({
  usage: 'NAME [NAME...]',
  about: 'What the guest had not written is lost.',
  examples: [{ run: 'vm reset deb', does: 'the reset button' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running-machine'],
  run(context, { args }) {
    return eachMachine(context, args, 'reset', 'resetting');
  },
});
