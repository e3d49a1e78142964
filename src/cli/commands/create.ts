import { defineCommand } from '../command.ts';
import { toCreateBody } from '../container/config.ts';
import { createContainer } from '../container/create.ts';
import { containerFlags } from '../container/flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  about: 'Takes the flags of run, prepares everything, and prints the id. Start it with isle start.',
  examples: [
    { run: 'create --name db -v data:/var/lib/postgresql/data postgres', does: 'ready to be started' },
  ],
  flags: containerFlags,
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['image', 'command'],
  interspersed: false,
  async run(context, { args: [image = '', ...words], flags }) {
    context.out.line(await createContainer(context, flags, toCreateBody(flags, image, words)));
  },
});
