import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { pullImage, splitReference, withTag } from '../image/pull.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  examples: [
    { run: 'pull debian:13', does: 'from Docker Hub' },
    { run: 'pull registry.example:5000/team/app', does: 'from another registry' },
    { run: 'pull --platform linux/arm64 alpine', does: 'for another machine' },
  ],
  flags: {
    'all-tags': boolean('Every tag of the repository', { short: 'a' }),
    'disable-content-trust': boolean('Accepted and ignored', { hidden: true }),
    platform: text('Platform, such as linux/arm64'),
    quiet: boolean('No progress', { short: 'q' }),
  },
  args: [1, 1],
  complete: ['image'],
  async run(context, { args: [image = ''], flags }) {
    const { tag } = splitReference(image);
    if (flags['all-tags'] && tag !== undefined) throw new Failure("tag can't be used with --all-tags/-a");
    if (!flags['all-tags'] && tag === undefined && !flags.quiet)
      context.out.line('Using default tag: latest');
    await pullImage(context, image, {
      platform: flags.platform,
      allTags: flags['all-tags'],
      quiet: flags.quiet,
      output: context.out,
    });
    context.out.line(flags['all-tags'] ? image : withTag(image));
  },
});
