import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { text } from '../flags.ts';
import { saveStream } from '../save-stream.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER',
  examples: [{ run: 'export -o web.tar web', does: 'the whole file system, as a tar' }],
  flags: { output: text('Write to a file instead of stdout', { short: 'o', complete: 'file' }) },
  args: [1, 1],
  complete: ['container'],
  async run(context, { args: [name = ''], flags }) {
    await saveStream(context, flags.output, (signal) =>
      context.client.body('GET', `${containerPath(name)}/export`, { signal }),
    );
  },
});
