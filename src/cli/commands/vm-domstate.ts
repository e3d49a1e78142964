import { defineCommand } from '../command.ts';
import { getMachine } from '../vm/machine.ts';
import { stateOf } from '../vm/state.ts';

export const command = defineCommand({
  usage: 'NAME',
  examples: [{ run: 'vm domstate deb', does: 'running, paused, saved or shut off' }],
  flags: {},
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [name = ''] }) {
    context.out.line(stateOf(await getMachine(context, name)));
  },
});
