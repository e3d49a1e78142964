import { defineCommand } from '../command.ts';
import { eachMachine } from '../vm/machine.ts';

export const command = defineCommand({
  usage: 'NAME [NAME...]',
  about: 'By its agent where one answers, else by ACPI. Returns when the guest has been asked.',
  examples: [{ run: 'vm reboot deb', does: 'the guest shuts down in order and comes up again' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running-machine'],
  run(context, { args }) {
    return eachMachine(context, args, 'reboot', 'asking for a reboot:');
  },
});
