import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';

export const command = defineCommand({
  usage: 'CONTAINER NEW_NAME',
  examples: [{ run: 'rename web web-old', does: 'make room for a new one' }],
  flags: {},
  args: [2, 2],
  complete: ['container'],
  async run({ client }, { args: [name = '', to = ''] }) {
    await client.post(`${containerPath(name)}/rename`, { query: { name: to } });
  },
});
