import { defineCommand } from '../command.ts';
import { text } from '../flags.ts';
import { saveStream } from '../save-stream.ts';

export const command = defineCommand({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  examples: [
    { run: 'save -o web.tar web:1 web:2', does: 'both into one archive' },
    { run: 'save web | ssh host isle load', does: 'to another machine' },
  ],
  flags: {
    output: text('Write to a file instead of stdout', { short: 'o', complete: 'file' }),
    platform: text('Only this platform'),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['image'],
  async run(context, { args, flags }) {
    await saveStream(context, flags.output, (signal) =>
      context.client.body('GET', '/images/get', {
        query: { names: args, platform: flags.platform },
        signal,
      }),
    );
  },
});
