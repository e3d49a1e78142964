import { defineCommand } from '../command.ts';
import { eachMachine } from '../vm/machine.ts';

export const command = defineCommand({
  usage: 'NAME [NAME...]',
  about:
    'Writes what is in memory to the disk and ends the machine, also over a reboot of the host. The next start goes on from there. When there is no room the guest goes on.',
  examples: [
    { run: 'vm save deb', does: 'isle vm start deb goes on where it was' },
    { run: 'vm managedsave-remove deb', does: 'boot next time instead' },
  ],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running-machine'],
  run(context, { args }) {
    return eachMachine(context, args, 'save', 'saving');
  },
});
