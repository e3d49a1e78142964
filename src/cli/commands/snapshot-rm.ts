import { defineCommand } from '../command.ts';
import { eachName, snapshotsPath } from '../each-name.ts';

export const command = defineCommand({
  usage: 'CONTAINER SNAPSHOT [SNAPSHOT...]',
  examples: [{ run: 'snapshot rm deb snap0', does: 'what was cloned from it stays' }],
  flags: {},
  args: [2, Number.POSITIVE_INFINITY],
  complete: ['container'],
  run(context, { args: [container = '', ...names] }) {
    return eachName(context, names, (name) =>
      context.client.delete(`${snapshotsPath(container)}/${encodeURIComponent(name)}`),
    );
  },
});
