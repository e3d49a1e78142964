import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { takeMachineSnapshot } from '../vm/snapshots.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [SNAPSHOT] [DESCRIPTION]',
  about:
    'Keeps disks and firmware variables as of one moment, and the memory of a machine that runs: after a revert it goes on from there. Everything lies in the disks themselves.',
  examples: [
    { run: 'vm snapshot-create-as deb before-upgrade', does: 'with memory when it runs' },
    { run: 'vm snapshot-create-as deb clean "fresh install" --disk-only', does: 'milliseconds, and small' },
    { run: 'vm snapshot-create-as db nightly --quiesce', does: 'file systems frozen by its agent meanwhile' },
  ],
  flags: {
    name: text('The name of the snapshot; snap0, snap1, … when there is none'),
    description: text('What it is for'),
    'disk-only': boolean('Without memory: after a revert it boots as after a power cut'),
    quiesce: boolean('Without memory, its file systems frozen by the guest agent meanwhile'),
    atomic: boolean('All disks or none: always so'),
  },
  args: [1, 3],
  complete: ['machine'],
  run(context, { args: [machine = '', name, description], flags }) {
    if (name !== undefined && flags.name !== undefined) throw new Failure('the name is given twice');
    if (description !== undefined && flags.description !== undefined)
      throw new Failure('the description is given twice');
    return takeMachineSnapshot(context, machine, {
      name: name ?? flags.name,
      comment: description ?? flags.description,
      diskOnly: flags['disk-only'],
      quiesce: flags.quiesce,
    });
  },
});
