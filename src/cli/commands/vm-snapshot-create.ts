import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { takeMachineSnapshot } from '../vm/snapshots.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  about:
    'As snapshot-create-as, with the next free name: snap0, snap1, … Disks and firmware variables as of one moment, and the memory of a machine that runs.',
  examples: [{ run: 'vm snapshot-create deb', does: 'it says the name' }],
  flags: {
    'disk-only': boolean('Without memory: after a revert it boots as after a power cut'),
    quiesce: boolean('Without memory, its file systems frozen by the guest agent meanwhile'),
  },
  args: [1, 1],
  complete: ['machine'],
  run(context, { args: [machine = ''], flags }) {
    return takeMachineSnapshot(context, machine, {
      diskOnly: flags['disk-only'],
      quiesce: flags.quiesce,
    });
  },
});
