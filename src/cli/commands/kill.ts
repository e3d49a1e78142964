import { defineCommand } from '../command.ts';
import { containerPath, eachName } from '../each-name.ts';
import { textOr } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [{ run: 'kill -s HUP web', does: 'send SIGHUP' }],
  flags: { signal: textOr('KILL', 'Signal to send', { short: 's' }) },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running'],
  run(context, { args, flags }) {
    return eachName(context, args, (name) =>
      context.client.post(`${containerPath(name)}/kill`, { query: { signal: flags.signal } }),
    );
  },
});
