import { defineCommand } from '../command.ts';
import { containerPath, eachName } from '../each-name.ts';
import { boolean, integerWithin } from '../flags.ts';
import { getMachine } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [NAME...]',
  about:
    'Machines and containers of a lower order start first, those of one order together; they stop in the opposite one.',
  examples: [
    { run: 'vm autostart deb', does: 'it comes up with the engine' },
    { run: 'vm autostart --order 10 --delay 30 db', does: 'among the first; the next wait 30 s' },
    { run: 'vm autostart --disable deb', does: 'no more' },
  ],
  flags: {
    disable: boolean('Not any more'),
    order: integerWithin(-1_000_000, 1_000_000, 'Lower ones start first (0)'),
    delay: integerWithin(0, 3600, 'Seconds to wait after it before the next order starts'),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['machine'],
  run(context, { args, flags }) {
    return eachName(context, args, async (name) => {
      const path = `/isle/v1${containerPath((await getMachine(context, name)).Id)}/autostart`;
      if (flags.disable) await context.client.status('DELETE', path);
      else await context.client.status('PUT', path, { body: { Order: flags.order, Delay: flags.delay } });
    });
  },
});
