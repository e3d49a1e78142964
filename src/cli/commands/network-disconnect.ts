import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NETWORK CONTAINER',
  examples: [{ run: 'network disconnect backend web', does: 'no longer on it' }],
  flags: { force: boolean('Even when the container is gone', { short: 'f' }) },
  args: [2, 2],
  complete: ['network', 'container'],
  async run({ client }, { args: [network = '', container = ''], flags }) {
    await client.post(`/networks/${encodeURIComponent(network)}/disconnect`, {
      body: { Container: container, Force: flags.force },
    });
  },
});
