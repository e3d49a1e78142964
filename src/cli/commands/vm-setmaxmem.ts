import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { machinePath } from '../vm/machine.ts';
import { parseSize } from '../vm/memory.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME SIZE',
  about:
    'How far isle vm setmem may go while the machine runs; it holds from its next start on. SIZE has a unit; without one it is KiB, as with virsh.',
  examples: [{ run: 'vm setmaxmem deb 16G', does: 'room to grow' }],
  flags: {
    config: boolean('Accepted: it always is at the next start', { hidden: true }),
    current: boolean('Accepted', { hidden: true }),
  },
  args: [2, 2],
  complete: ['machine'],
  async run({ client }, { args: [name = '', size = ''] }) {
    await client.status('PUT', `${machinePath(name)}/hardware`, {
      body: { MaxMemory: parseSize(size, 1024) },
    });
  },
});
