import { defineCommand } from '../command.ts';
import { candidates } from '../completion/candidates.ts';

export const command = defineCommand({
  usage: '[WORD...]',
  examples: [],
  flags: {},
  args: [0, Number.POSITIVE_INFINITY],
  interspersed: false,
  async run(context, { args }) {
    const found = await candidates(context.client, args.length > 0 ? args : ['']);
    if (found.length > 0) context.out.write(`${found.join('\n')}\n`);
  },
});
