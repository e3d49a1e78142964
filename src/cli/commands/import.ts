import { createReadStream } from 'node:fs';
import { defineCommand } from '../command.ts';
import { list, text } from '../flags.ts';
import { followProgress } from '../image/progress-stream.ts';
import { splitReference } from '../image/pull.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { openInput } from '../open-input.ts';

export const command = defineCommand({
  usage: '[OPTIONS] file|URL|- [REPOSITORY[:TAG]]',
  examples: [
    { run: 'import rootfs.tar debian:own', does: 'an image of one layer' },
    { run: 'export web | isle import -c \'CMD ["nginx"]\' - web:flat', does: 'a container as a flat image' },
  ],
  flags: {
    change: list('Dockerfile instruction to apply', { short: 'c' }),
    message: text('Message', { short: 'm' }),
    platform: text('Platform'),
  },
  args: [1, 2],
  complete: ['file'],
  async run(context, { args: [source = '', reference], flags }) {
    const { name, tag } =
      reference === undefined ? { name: undefined, tag: undefined } : splitReference(reference);
    const remote = /^https?:\/\//.test(source);
    const body = remote
      ? undefined
      : source === '-'
        ? process.stdin
        : await openInput(source, createReadStream);
    let id = '';
    const work = followProgress(
      context,
      '/images/create',
      {
        query: {
          fromSrc: remote ? source : '-',
          repo: name,
          tag,
          message: flags.message,
          platform: flags.platform,
          changes: flags.change.length > 0 ? flags.change : undefined,
        },
        body,
      },
      {
        quiet: true,
        output: context.out,
        cancelled: 'import cancelled',
        // The last status is the new image's id.
        onLine: ({ status }) => {
          if (status?.startsWith('sha256:')) id = status;
        },
      },
    );
    await withSpinner(context.err, 'importing', work);
    context.out.line(id);
  },
});
