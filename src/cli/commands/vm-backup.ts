import { resolve } from 'node:path';
import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { type BackupBody, describeBackup } from '../vm/backups.ts';
import { followWork } from '../vm/follow-work.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] --to DIR NAME',
  about:
    'Copies a machine, running or not, to a directory of the engine’s host: its settings, disks, NVRAM and TPM. After the first time only what changed is copied, where that is known; else all of it, and why is said. Prints the id of the backup.',
  examples: [
    { run: 'vm backup web --to /backups', does: 'what changed since the last time' },
    {
      run: 'vm backup --quiesce --to /backups web',
      does: 'with the file systems at rest, by the guest agent',
    },
    { run: 'vm backup --full --to /backups web', does: 'all of it' },
  ],
  flags: {
    to: text('Directory of the backups; made when it is not there', { value: 'DIR', complete: 'file' }),
    full: boolean('Copy all of it'),
    incremental: boolean('Copy what changed; fail where that is not known'),
    quiesce: boolean('Let the guest agent write out and freeze the file systems for the moment it begins'),
    quiet: boolean('No progress', { short: 'q' }),
  },
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [name = ''], flags }) {
    if (flags.to === undefined)
      throw new Failure('say where to: --to DIR', { hint: `isle vm backup ${name} --to /backups` });
    if (flags.full && flags.incremental) throw new Failure('--full and --incremental contradict each other');
    const { Id, Name } = await getMachine(context, name);
    const taken = await followWork<BackupBody & { MovedBytes: number }>(
      context,
      'POST',
      `${machinePath(Id)}/backups`,
      {
        body: {
          Repository: resolve(flags.to),
          Mode: flags.full ? 'full' : flags.incremental ? 'incremental' : 'auto',
          Quiesce: flags.quiesce,
        },
      },
      { quiet: flags.quiet, cancelled: 'backup cancelled; nothing is left of it' },
    );
    if (!flags.quiet) context.err.line(`${Name}: ${describeBackup(taken)}`);
    context.out.line(taken.Id);
    return 0;
  },
});
