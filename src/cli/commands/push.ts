import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { followProgress } from '../image/progress-stream.ts';
import { splitReference, withTag } from '../image/pull.ts';
import { imagePath } from '../image/path.ts';
import { registryAuthHeader } from '../image/registry-auth.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME[:TAG]',
  examples: [
    { run: 'tag app registry.example:5000/team/app:1', does: 'give it the registry’s name first' },
    { run: 'push registry.example:5000/team/app:1', does: 'then send it' },
  ],
  flags: {
    'all-tags': boolean('Every tag of the image', { short: 'a' }),
    'disable-content-trust': boolean('Accepted and ignored', { hidden: true }),
    platform: text('Only the manifest of this platform'),
    quiet: boolean('No progress', { short: 'q' }),
  },
  args: [1, 1],
  complete: ['image'],
  async run(context, { args: [image = ''], flags }) {
    const { name, tag } = splitReference(image);
    if (flags['all-tags'] && tag !== undefined) throw new Failure("tag can't be used with --all-tags/-a");
    if (!flags['all-tags'] && tag === undefined && !flags.quiet)
      context.out.line('Using default tag: latest');
    await followProgress(
      context,
      `${imagePath(name)}/push`,
      {
        query: {
          tag: flags['all-tags'] ? undefined : (tag ?? 'latest'),
          platform: flags.platform === undefined ? undefined : encodePlatform(flags.platform),
        },
        headers: await registryAuthHeader(context, image),
      },
      { quiet: flags.quiet, output: context.out, cancelled: 'push cancelled' },
    );
    if (flags.quiet) context.out.line(withTag(image));
  },
});

/** `os/arch[/variant]` as the API's JSON. */
function encodePlatform(text_: string): string {
  const [os, architecture, variant] = text_.split('/');
  return JSON.stringify({ os, architecture, variant });
}
