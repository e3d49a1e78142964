import { defineCommand } from '../command.ts';
import { eachAsContainer } from '../vm/machine.ts';

export const command = defineCommand({
  usage: 'NAME [NAME...]',
  about:
    'Ends a machine at once, as virsh does: what the guest had not written is lost, its disks stay. To remove a machine: isle vm remove.',
  examples: [{ run: 'vm destroy deb', does: 'it is off' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running-machine'],
  run(context, { args }) {
    return eachAsContainer(context, args, 'kill', 'pulling the plug:');
  },
});
