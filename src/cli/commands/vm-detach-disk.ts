import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { getMachine, machinePath } from '../vm/machine.ts';
import { refuseLater, whenFlags } from '../vm/when.ts';

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
    ...whenFlags,
  },
  args: [2, 2],
  complete: ['machine'],
  async run(context, { args: [name = '', target = ''], flags }) {
    const machine = await getMachine(context, name);
    refuseLater(machine, flags);
    const path = `${machinePath(machine.Id)}/disks/${encodeURIComponent(target)}`;
    await context.client.delete(path, { remove: flags.remove });
  },
});
