import type { ContainerInspect } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { boolean, text, textOr } from '../flags.ts';
import { Demultiplexer } from '../session/demultiplex.ts';
import { toTimestamp } from '../time.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER',
  examples: [
    { run: 'logs -f --tail 20 web', does: 'the last lines, and what comes' },
    { run: 'logs --since 10m -t web', does: 'the last ten minutes, with times' },
  ],
  flags: {
    details: boolean('Show extra details'),
    follow: boolean('Go on as more comes', { short: 'f' }),
    since: text('From a time (2026-01-02T15:04:05Z) or as long ago as (42m)'),
    tail: textOr('all', 'Lines from the end', { short: 'n' }),
    timestamps: boolean('Show times', { short: 't' }),
    until: text('Up to a time or as long ago as'),
  },
  args: [1, 1],
  complete: ['container'],
  async run({ client, out, err }, { args: [name = ''], flags }) {
    const { Config } = await client.get<ContainerInspect>(`${containerPath(name)}/json`);
    const response = await client.stream('GET', `${containerPath(name)}/logs`, {
      query: {
        stdout: true,
        stderr: true,
        follow: flags.follow || undefined,
        since: flags.since && toTimestamp(flags.since),
        until: flags.until && toTimestamp(flags.until),
        tail: flags.tail,
        timestamps: flags.timestamps || undefined,
        details: flags.details || undefined,
      },
    });
    const frames = Config.Tty
      ? undefined
      : new Demultiplexer({ stdout: (data) => out.write(data), stderr: (data) => err.write(data) });
    for await (const chunk of response.body) {
      if (frames) frames.write(chunk as Buffer);
      else out.write(chunk as Buffer);
      await out.drained();
    }
  },
});
