import { createReadStream } from 'node:fs';
import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { followProgress } from '../image/progress-stream.ts';
import { openInput } from '../open-input.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [
    { run: 'load -i web.tar', does: 'from a file; gzip and zstd are fine' },
    { run: 'load < web.tar', does: 'from stdin' },
  ],
  flags: {
    input: text('Read from a file instead of stdin', { short: 'i', complete: 'file' }),
    platform: text('Only this platform', { hidden: true }),
    quiet: boolean('No progress', { short: 'q' }),
  },
  args: [0, 0],
  async run(context, { flags }) {
    if (flags.input === undefined && process.stdin.isTTY)
      throw new Failure('requested load from stdin, but stdin is a terminal', { hint: 'use -i FILE' });
    await followProgress(
      context,
      '/images/load',
      {
        query: { quiet: flags.quiet || undefined },
        body: flags.input === undefined ? process.stdin : await openInput(flags.input, createReadStream),
      },
      {
        quiet: flags.quiet,
        output: context.out,
        cancelled: 'load cancelled',
        onLine: (line) => {
          if (flags.quiet && line.stream) context.out.write(line.stream);
        },
      },
    );
  },
});
