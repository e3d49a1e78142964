import { defineCommand } from '../command.ts';
import { eachName } from '../each-name.ts';
import { text } from '../flags.ts';

export const command = defineCommand({
  usage: 'DISK [DISK...]',
  about:
    'Removes disks of the store that no machine has, and all that is on them. What others stand on stays.',
  examples: [{ run: 'vm vol-delete old-vda', does: 'for good' }],
  flags: { pool: text('Accepted: there is one store', { hidden: true }) },
  args: [1, Number.POSITIVE_INFINITY],
  run(context, { args }) {
    return eachName(
      context,
      args,
      async (name) => {
        await context.client.delete(`/isle/v1/disks/${encodeURIComponent(name)}`);
      },
      'removing',
    );
  },
});
