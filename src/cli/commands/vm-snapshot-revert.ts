import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { machineSnapshotPath, snapshotName } from '../vm/snapshots.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [SNAPSHOT]',
  about:
    'Disks, firmware variables, TPM and hardware are again what they were; what was done since is lost. With memory the guest goes on from that moment, else it is off afterwards. The snapshot stays.',
  examples: [
    { run: 'vm snapshot-revert deb before-upgrade', does: 'a machine that runs is ended first' },
    { run: 'vm snapshot-revert deb clean --running', does: 'boot it when it has no memory' },
    { run: 'vm snapshot-revert deb --current', does: 'the one that the disks stand on' },
  ],
  flags: {
    current: boolean('The one that the disks stand on'),
    running: boolean('Start it afterwards'),
    'only-idle': boolean('Refuse a machine that runs or is saved'),
    force: boolean('Also a machine that runs: always so, as of virsh'),
  },
  args: [1, 2],
  complete: ['machine'],
  async run(context, { args: [machine = '', asked], flags }) {
    const name = await snapshotName(context, machine, asked, flags.current);
    const work = context.client.post(`${machineSnapshotPath(machine, name)}/revert`, {
      body: { Force: !flags['only-idle'], Start: flags.running },
    });
    await withSpinner(context.err, 'going back', work);
  },
});
