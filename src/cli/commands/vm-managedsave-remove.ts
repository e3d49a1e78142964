import { defineCommand } from '../command.ts';
import { eachMachine } from '../vm/machine.ts';

export const command = defineCommand({
  usage: 'NAME [NAME...]',
  about: 'The next start boots, as after a power cut. What the guest had not written to its disks is lost.',
  examples: [{ run: 'vm managedsave-remove deb', does: 'after isle vm save deb' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['machine'],
  run(context, { args }) {
    return eachMachine(context, args, 'discard-saved', 'forgetting');
  },
});
