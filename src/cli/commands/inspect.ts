import { defineCommand } from '../command.ts';
import { choice } from '../flags.ts';
import { inspect, inspectFlags, type Kind, sizeFlag } from '../inspection.ts';

const kinds = ['container', 'image', 'network', 'volume'] as const satisfies readonly Kind[];

export const command = defineCommand({
  usage: '[OPTIONS] NAME|ID [NAME|ID...]',
  examples: [
    { run: 'inspect web', does: 'everything about it' },
    { run: "inspect -f '{{.NetworkSettings.IPAddress}}' web", does: 'one thing of it' },
    { run: "inspect -f '{{json .Config.Env}}' web", does: 'a part of it, as JSON' },
  ],
  flags: {
    ...inspectFlags,
    size: sizeFlag,
    type: choice(kinds, 'Only things of this type'),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['container'],
  run(context, { args, flags }) {
    const among = flags.type === undefined ? kinds : kinds.filter((kind) => kind === flags.type);
    return inspect(context, args, among, { format: flags.format, query: { size: flags.size || undefined } });
  },
});
