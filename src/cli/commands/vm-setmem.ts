import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { machinePath } from '../vm/machine.ts';
import { parseSize } from '../vm/memory.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME SIZE',
  about:
    'A running machine gets memory at once, up to the maximum it was started with (isle vm create --memory 2048,maxmemory=8192), and gives back what its guest lets go. SIZE has a unit; without one it is KiB, as with virsh.',
  examples: [
    { run: 'vm setmem deb 4G', does: 'at once, and for good' },
    { run: 'vm setmem --config deb 4G', does: 'at its next start' },
  ],
  flags: {
    config: boolean('At its next start only'),
    live: boolean('Accepted: at once', { hidden: true }),
    current: boolean('Accepted', { hidden: true }),
  },
  args: [2, 2],
  complete: ['machine'],
  async run({ client }, { args: [name = '', size = ''], flags }) {
    const bytes = parseSize(size, 1024);
    if (flags.config && !flags.live)
      await client.status('PUT', `${machinePath(name)}/hardware`, { body: { Memory: bytes } });
    else await client.status('PUT', `${machinePath(name)}/memory`, { body: { Bytes: bytes } });
  },
});
