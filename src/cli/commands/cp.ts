import { defineCommand } from '../command.ts';
import { copyFrom } from '../copy/copy-from.ts';
import { copyTo } from '../copy/copy-to.ts';
import { parseEnd } from '../copy/ends.ts';
import { Failure } from '../failure.ts';
import { boolean } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-   or   isle cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH',
  about:
    'A directory that exists receives the source by its name; SRC_PATH/. means what is in the directory. - is a tar on stdin or stdout.',
  examples: [
    { run: 'cp web:/etc/nginx/nginx.conf .', does: 'a file from it' },
    { run: 'cp site/. web:/usr/share/nginx/html', does: 'what is in a directory, into one there' },
  ],
  flags: {
    archive: boolean('Keep owners', { short: 'a' }),
    'follow-link': boolean('Copy what a link in SRC_PATH points to', { short: 'L' }),
    quiet: boolean('Say nothing', { short: 'q' }),
  },
  args: [2, 2],
  complete: ['container', 'file'],
  async run(context, { args: [source = '', target = ''], flags }) {
    const from = parseEnd(source);
    const to = parseEnd(target);
    if (source === '') throw new Failure('source can not be empty');
    if (target === '') throw new Failure('destination can not be empty');
    if (from.container !== undefined && to.container !== undefined)
      throw new Failure('copying between containers is not supported', {
        hint: 'isle cp A:/path - | isle cp - B:/path',
      });
    const options = { archive: flags.archive, followLink: flags['follow-link'], quiet: flags.quiet };
    if (from.container !== undefined) return copyFrom(context, from.container, from.path, to.path, options);
    if (to.container !== undefined) return copyTo(context, from.path, to.container, to.path, options);
    throw new Failure('must specify at least one container source', {
      hint: 'a path in a container is NAME:PATH',
    });
  },
});
