import type { Context } from './context.ts';
import { containerPath, eachName } from './each-name.ts';
import { integer, text, type Values } from './flags.ts';

/** What `stop` and `restart` have in common. */
export const endingFlags = {
  signal: text('Signal to send', { short: 's' }),
  timeout: integer('Seconds to wait before killing it; -1 for ever', { short: 't', aliases: ['time'] }),
} as const;

/** Posts `action` to each container, with the signal and the patience asked for. */
export function endEach(
  context: Context,
  names: readonly string[],
  flags: Values<typeof endingFlags>,
  action: 'stop' | 'restart',
  doing: string,
): Promise<number> {
  const query = { t: flags.timeout, signal: flags.signal };
  const end = async (name: string) => {
    await context.client.status('POST', `${containerPath(name)}/${action}`, { query });
  };
  return eachName(context, names, end, doing);
}
