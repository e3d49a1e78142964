import { defineCommand } from '../command.ts';
import { containerPath, eachName } from '../each-name.ts';
import { ApiError } from '../client/errors.ts';
import { boolean } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [
    { run: 'rm old', does: 'remove a stopped container' },
    { run: 'rm -fv web', does: 'kill it, remove it and its anonymous volumes' },
  ],
  flags: {
    force: boolean('Kill it first if it runs', { short: 'f' }),
    link: boolean('Remove the link, not the container', { short: 'l' }),
    volumes: boolean('Also remove its anonymous volumes', { short: 'v' }),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['container'],
  run(context, { args, flags }) {
    const remove = async (name: string) => {
      const query = { force: flags.force, v: flags.volumes, link: flags.link || undefined };
      try {
        await context.client.delete(containerPath(name.replace(/^\//, '')), query);
      } catch (error) {
        // As Docker's: forcing away what is already away is no error worth an exit code.
        if (!(flags.force && error instanceof ApiError && error.status === 404)) throw error;
        context.err.line(`isle: ${error.message}`);
        return null;
      }
      return undefined;
    };
    return eachName(context, args, remove, 'removing');
  },
});
