import { defineCommand } from '../command.ts';
import { booleanOn, list, text } from '../flags.ts';
import { splitReference } from '../image/pull.ts';
import { withSpinner } from '../terminal/spinner.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  examples: [{ run: 'commit -c \'CMD ["nginx"]\' web web:patched', does: 'an image of what it is now' }],
  flags: {
    author: text('Author', { short: 'a' }),
    change: list('Dockerfile instruction to apply', { short: 'c' }),
    message: text('Message', { short: 'm' }),
    pause: booleanOn('Pause it meanwhile', { short: 'p' }),
  },
  args: [1, 2],
  complete: ['container'],
  async run({ client, out, err }, { args: [container = '', image], flags }) {
    const { name, tag } = image === undefined ? { name: undefined, tag: undefined } : splitReference(image);
    const work = client.post<{ Id: string }>('/commit', {
      query: {
        container,
        repo: name,
        tag,
        author: flags.author,
        comment: flags.message,
        pause: flags.pause,
        changes: flags.change.length > 0 ? flags.change : undefined,
      },
      body: {},
    });
    out.line((await withSpinner(err, 'committing', work)).Id);
  },
});
