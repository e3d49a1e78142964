import { defineCommand } from '../command.ts';
import { eachAsContainer } from '../vm/machine.ts';

export const command = defineCommand({
  usage: 'NAME [NAME...]',
  about: 'Its memory stays where it is: vm save keeps it on disk instead.',
  examples: [{ run: 'vm suspend deb', does: 'it stands still' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running-machine'],
  run(context, { args }) {
    return eachAsContainer(context, args, 'pause', 'suspending');
  },
});
