import type { MachineSnapshotBody } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { eachName } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { boolean } from '../flags.ts';
import { machineSnapshotPath, machineSnapshotsPath, snapshotName } from '../vm/snapshots.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [SNAPSHOT...]',
  about: 'What was taken after it stays, and becomes a child of its parent. What was cloned from it stays.',
  examples: [
    { run: 'vm snapshot-delete deb before-upgrade', does: 'one' },
    { run: 'vm snapshot-delete deb clean --children', does: 'and all that were taken after it' },
  ],
  flags: {
    current: boolean('The one that the disks stand on'),
    children: boolean('And everything below it'),
    'children-only': boolean('Everything below it, and not itself'),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['machine'],
  async run(context, { args: [machine = '', ...asked], flags }) {
    const below = flags.children || flags['children-only'];
    if (below && asked.length > 1) throw new Failure('--children goes with one snapshot');
    let names =
      asked.length > 0 && !flags.current
        ? asked
        : [await snapshotName(context, machine, asked[0], flags.current)];
    if (below) {
      const all = await context.client.get<MachineSnapshotBody[]>(machineSnapshotsPath(machine));
      const [top = ''] = names;
      names = [...descendants(all, top), ...(flags['children-only'] ? [] : [top])];
    }
    let code = 0;
    // One after another: the engine does them in that order anyway.
    for (const name of names)
      code ||= await eachName(
        context,
        [name],
        () => context.client.delete(machineSnapshotPath(machine, name)),
        'removing',
      );
    return code;
  },
});

/** Leaves first. */
function descendants(all: readonly MachineSnapshotBody[], name: string): string[] {
  return all
    .filter(({ Parent }) => Parent === name)
    .flatMap((child) => [...descendants(all, child.Name), child.Name]);
}
