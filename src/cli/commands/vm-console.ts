import { defineCommand } from '../command.ts';
import { boolean, integer, text } from '../flags.ts';
import { openConsole } from '../vm/console.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  about:
    'The last lines that it wrote, then the console itself. Ctrl-] leaves, as in virsh, and Ctrl-P Ctrl-Q as everywhere in isle; the machine runs on. Everything ever written is in isle logs NAME.',
  examples: [
    { run: 'vm console deb', does: 'log in; press Enter if nothing shows' },
    { run: 'vm console --tail 200 --no-stdin deb', does: 'look at the boot' },
  ],
  flags: {
    'detach-keys': text('Further keys that leave (ctrl-p,ctrl-q)'),
    'no-stdin': boolean('Only look'),
    tail: integer('Lines from before (24); 0 for none'),
    force: boolean('Accepted', { hidden: true }),
    safe: boolean('Accepted', { hidden: true }),
  },
  args: [1, 1],
  complete: ['running-machine'],
  run(context, { args: [name = ''], flags }) {
    return openConsole(context, name, {
      detachKeys: flags['detach-keys'],
      stdin: !flags['no-stdin'],
      tail: flags.tail ?? 24,
    });
  },
});
