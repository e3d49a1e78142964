import { defineCommand } from '../command.ts';
import { containerPath, eachName } from '../each-name.ts';

export const command = defineCommand({
  usage: 'CONTAINER [CONTAINER...]',
  examples: [{ run: 'unpause web', does: 'let it go on' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running'],
  run(context, { args }) {
    return eachName(context, args, (name) => context.client.post(`${containerPath(name)}/unpause`));
  },
});
