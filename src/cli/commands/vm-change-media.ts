import { resolve } from 'node:path';
import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { boolean } from '../flags.ts';
import { getMachine, machinePath } from '../vm/machine.ts';
import { refuseLater, whenFlags } from '../vm/when.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [TARGET] [FILE]',
  about:
    'Puts FILE into its CD drive, or with --eject takes out what is in it. TARGET is needed when the machine has several.',
  examples: [
    { run: 'vm change-media deb sda /srv/drivers.iso', does: 'put in another CD' },
    { run: 'vm change-media deb sda --eject', does: 'take it out' },
  ],
  flags: {
    eject: boolean('Take it out'),
    insert: boolean('Accepted: FILE is put in', { hidden: true }),
    update: boolean('Accepted: FILE is put in', { hidden: true }),
    force: boolean('Accepted: a locked drive is opened after some seconds', { hidden: true }),
    ...whenFlags,
  },
  args: [1, 3],
  complete: ['machine'],
  async run(context, { args: [name = '', ...words], flags }) {
    const machine = await getMachine(context, name);
    refuseLater(machine, flags);
    const { Hardware } = machine;
    const drives = Hardware.Cdroms.map(({ Target }) => Target);
    const [first] = words;
    const named = first !== undefined && (drives.includes(first) || words.length > 1);
    const target = named ? first : drives[0];
    const file = named ? words[1] : first;
    if (target === undefined || !drives.includes(target))
      throw new Failure(
        `the machine ${name} has no CD drive ${target ?? ''}: it has ${drives.join(', ') || 'none'}`,
      );
    if (!named && drives.length > 1) throw new Failure(`say which CD drive: ${drives.join(', ')}`);
    if (flags.eject ? file !== undefined : file === undefined)
      throw new Failure(flags.eject ? '--eject takes no file' : 'say which file is put in, or --eject');
    await context.client.status('PUT', `${machinePath(name)}/cdroms/${encodeURIComponent(target)}`, {
      body: file === undefined ? {} : { Path: resolve(file) },
    });
  },
});
