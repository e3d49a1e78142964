import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { getMachine } from '../vm/machine.ts';

export const command = defineCommand({
  usage: 'NAME NEW_NAME',
  about: 'At once, also while it runs. What its guest calls itself stays.',
  examples: [{ run: 'vm rename deb web', does: 'another name' }],
  flags: {},
  args: [2, 2],
  complete: ['machine'],
  async run(context, { args: [name = '', to = ''] }) {
    const { Id } = await getMachine(context, name);
    await context.client.post(`${containerPath(Id)}/rename`, { query: { name: to } });
  },
});
