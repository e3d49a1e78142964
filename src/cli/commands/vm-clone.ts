import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME[/SNAPSHOT] [NEW_NAME]',
  about:
    'A machine with the same settings and disks, as they are now or were in the snapshot. It is somebody else: own UUID, MAC addresses, cloud-init instance (new SSH host keys, host name, machine-id), TPM. A linked clone is there at once and takes no room: its disks stand on those of the source, which cannot be removed before it.',
  examples: [
    { run: 'vm clone deb deb2 --linked --start', does: 'a running twin in a moment' },
    { run: 'vm clone deb/clean deb-test', does: 'a full copy of what it was then' },
    { run: 'vm clone web web-test --no-ports', does: 'beside one that has its ports' },
  ],
  flags: {
    name: text('The name of the clone', { short: 'n' }),
    linked: boolean('Disks that stand on those of the source'),
    full: boolean('Disks of its own: the default'),
    snapshot: text('As it was in this snapshot'),
    'no-ports': boolean('Publish none of its ports'),
    start: boolean('Start it'),
  },
  args: [1, 2],
  complete: ['machine'],
  async run({ client, out, err }, { args: [source = '', name], flags }) {
    if (flags.linked && flags.full) throw new Failure('--linked or --full, not both');
    if (name !== undefined && flags.name !== undefined) throw new Failure('the name is given twice');
    const slash = source.indexOf('/', 1);
    if (slash >= 0 && flags.snapshot !== undefined) throw new Failure('the snapshot is given twice');
    const machine = slash < 0 ? source : source.slice(0, slash);
    const work = client.post<{ Id: string; Warnings: string[] }>(`${machinePath(machine)}/clone`, {
      body: {
        Name: name ?? flags.name,
        Linked: flags.linked,
        Snapshot: flags.snapshot ?? (slash < 0 ? undefined : source.slice(slash + 1)),
        NoPorts: flags['no-ports'],
      },
    });
    const { Id, Warnings } = await withSpinner(err, 'cloning', work);
    for (const warning of Warnings) err.foreign(`note: ${warning}`);
    if (flags.start) await client.post(`${containerPath(Id)}/start`);
    out.line(Id);
  },
});
