import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME TARGET',
  about:
    'The guest of a running machine has to let go of it: unmount it there first. A disk of the store stays there (isle vm vol-list), to be attached again.',
  examples: [
    { run: 'vm detach-disk deb vdb', does: 'keep it in the store' },
    { run: 'vm detach-disk --remove deb vdb', does: 'and all that is on it goes' },
  ],
  flags: {
    remove: boolean('From the store, too'),
    live: boolean('Accepted: a running machine loses it at once', { hidden: true }),
    config: boolean('Accepted: it stays away over restarts', { hidden: true }),
    persistent: boolean('Accepted: it stays away over restarts', { hidden: true }),
    current: boolean('Accepted', { hidden: true }),
  },
  args: [2, 2],
  complete: ['machine'],
  async run({ client }, { args: [name = '', target = ''], flags }) {
    const path = `${machinePath(name)}/disks/${encodeURIComponent(target)}`;
    await client.delete(path, { remove: flags.remove });
  },
});
