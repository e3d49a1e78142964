import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { machinePath } from '../vm/machine.ts';
import { parseSize } from '../vm/memory.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME TARGET SIZE',
  about:
    'Also while the machine runs: its guest sees the new size at once, and grows its partition and file system itself. Disks only grow. SIZE has a unit; without one it is KiB, as with virsh.',
  examples: [{ run: 'vm blockresize deb vda 40G', does: 'to 40 GiB' }],
  flags: { bytes: boolean('SIZE is in bytes') },
  args: [3, 3],
  complete: ['machine'],
  async run({ client }, { args: [name = '', target = '', size = ''], flags }) {
    await client.status('PUT', `${machinePath(name)}/disks/${encodeURIComponent(target)}/size`, {
      body: { Size: parseSize(size, flags.bytes ? 1 : 1024) },
    });
  },
});
