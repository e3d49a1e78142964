import { defineCommand } from '../command.ts';
import { containerPath, eachName } from '../each-name.ts';
import { integer, text } from '../flags.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  examples: [{ run: 'stop -t 30 db', does: 'give it half a minute to end by itself' }],
  flags: {
    signal: text('Signal to send', { short: 's' }),
    timeout: integer('Seconds to wait before killing it; -1 for ever', { short: 't', aliases: ['time'] }),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running'],
  run(context, { args, flags }) {
    const action = async (name: string) => {
      const query = { t: flags.timeout, signal: flags.signal };
      await context.client.status('POST', `${containerPath(name)}/stop`, { query });
    };
    return eachName(context, args, action, 'stopping');
  },
});
