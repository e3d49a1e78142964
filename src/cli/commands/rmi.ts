import { ApiError } from '../client/errors.ts';
import { defineCommand } from '../command.ts';
import { messageOf } from '../../lib/errors.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { imagePath } from '../image/path.ts';
import { boolean, list } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  examples: [
    { run: 'rmi app:1', does: 'remove a name, and the image with its last one' },
    { run: 'rmi $(isle images -q --filter dangling=true)', does: 'those without a name' },
  ],
  flags: {
    force: boolean('Even when it has several names or a stopped container uses it', { short: 'f' }),
    'no-prune': boolean('Keep untagged parents'),
    platform: list('Only this platform', { hidden: true }),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['image'],
  async run({ client, out, err }, { args, flags }) {
    const query = { force: flags.force || undefined, noprune: flags['no-prune'] || undefined };
    let code = 0;
    // One after another: removing a name may free the image that the next one names.
    for (const image of args) {
      try {
        const work = client.delete<{ Untagged?: string; Deleted?: string }[]>(imagePath(image), query);
        const removed = await withSpinner(err, `removing ${image}`, work, 1000);
        for (const one of removed)
          out.line(one.Untagged === undefined ? `Deleted: ${one.Deleted}` : `Untagged: ${one.Untagged}`);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        // As Docker's: forcing away what is already away is no error worth an exit code.
        const gone = flags.force && error.status === 404;
        if (args.length === 1 && !gone) throw error;
        err.line(`isle: ${messageOf(error)}`);
        if (!gone) code = 1;
      }
    }
    return code;
  },
});
