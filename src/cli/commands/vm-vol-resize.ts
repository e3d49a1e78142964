import { defineCommand } from '../command.ts';
import { boolean, text } from '../flags.ts';
import { parseSize } from '../vm/memory.ts';

export const command = defineCommand({
  usage: '[OPTIONS] DISK SIZE',
  about: "Of a disk that no machine has; a machine's: isle vm blockresize. Without a unit SIZE is in bytes.",
  examples: [{ run: 'vm vol-resize old-vda 40G', does: 'to 40 GiB' }],
  flags: {
    shrink: boolean('Make it smaller: what lies behind its new end is lost'),
    pool: text('Accepted: there is one store', { hidden: true }),
  },
  args: [2, 2],
  async run({ client }, { args: [name = '', size = ''], flags }) {
    await client.status('PUT', `/isle/v1/disks/${encodeURIComponent(name)}/size`, {
      body: { Size: parseSize(size, 1), Shrink: flags.shrink },
    });
  },
});
