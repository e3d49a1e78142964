import type { SnapshotBody } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { snapshotsPath } from '../each-name.ts';
import { boolean, text } from '../flags.ts';
import { withSpinner } from '../terminal/spinner.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [SNAPSHOT]',
  about:
    'Keeps a copy of all that a container has written to its root file system. A running one holds still while it is copied. Volumes and binds are not part of it.',
  examples: [
    { run: 'snapshot create deb before-upgrade', does: 'something to come back to' },
    { run: 'snapshot create --comment "before the upgrade" deb', does: 'named snap0, snap1, …' },
  ],
  flags: {
    comment: text('What it is for'),
    quiet: boolean('Only the name', { short: 'q' }),
  },
  args: [1, 2],
  complete: ['container'],
  async run({ client, out, err }, { args: [container = '', name], flags }) {
    const work = client.post<SnapshotBody & { PausedMs: number }>(snapshotsPath(container), {
      body: { Name: name, Comment: flags.comment },
    });
    const taken = await withSpinner(err, 'taking a snapshot', work);
    out.line(taken.Name);
    if (taken.PausedMs > 0 && !flags.quiet && err.isTerminal)
      err.line(`${container} held still for ${Math.ceil(taken.PausedMs)} ms`);
  },
});
