import { formatBinaryBytes } from '../../lib/units.ts';
import type { MachineDiskUsage } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import type { Context } from '../context.ts';
import { eachName } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { boolean } from '../flags.ts';
import { ask } from '../terminal/prompt.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

const ignored = (help: string) => boolean(help, { hidden: true });

export const command = defineCommand({
  usage: '[OPTIONS] NAME [NAME...]',
  about:
    'Removes machines, with their snapshots, NVRAM, TPM and saved memory. Asks whether their disks go, too; disks that stay can be given to another machine (--disk vol=NAME), and files of your own are never removed.',
  examples: [
    { run: 'vm remove deb', does: 'asks about its disks' },
    { run: 'vm remove --disks -f deb', does: 'pull the plug, and remove all of it' },
    { run: 'vm remove --keep-disks deb', does: 'its disks stay in the store' },
  ],
  flags: {
    disks: boolean('With its disks, without asking', { aliases: ['remove-all-storage', 'volumes'] }),
    'keep-disks': boolean('Without its disks, without asking', { aliases: ['keep-storage'] }),
    force: boolean('Pull the plug first if it runs', { short: 'f' }),
    yes: boolean('Answer yes: with its disks', { short: 'y' }),
    nvram: ignored('As virsh’s'),
    tpm: ignored('As virsh’s'),
    'managed-save': ignored('As virsh’s'),
    'snapshots-metadata': ignored('As virsh’s'),
    'checkpoints-metadata': ignored('As virsh’s'),
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['machine'],
  async run(context, { args, flags }) {
    if (flags['keep-disks'] && (flags.disks || flags.yes))
      throw new Failure('--disks and --keep-disks contradict each other');
    const told = flags['keep-disks'] ? false : flags.disks || flags.yes ? true : undefined;
    const remove = async (name: string, disks: boolean) => {
      await context.client.delete(machinePath(name), { disks, force: flags.force });
    };
    if (told !== undefined) {
      // One after another: a clone goes before what it stands on.
      let before: Promise<unknown> = Promise.resolve();
      const inTurn = (name: string) => {
        const removed = before.then(() => remove(name, told));
        before = removed.catch(() => {});
        return removed;
      };
      return await eachName(context, args, inTurn, 'removing');
    }
    // Questions come one after another, each before its machine goes.
    for (const name of args) {
      const answer = await askAboutDisks(context, name);
      if (answer === undefined) throw new Failure(`cancelled; ${name} stays`);
      await remove(name, answer);
      context.out.line(name);
    }
    return 0;
  },
});

/** Whether they go; undefined: nothing goes. */
async function askAboutDisks(context: Context, name: string): Promise<boolean | undefined> {
  const { client, err } = context;
  const machine = await getMachine(context, name);
  const own = (await client.get<MachineDiskUsage[]>(`${machinePath(machine.Id)}/disks`)).filter(
    ({ Disk }) => Disk !== undefined,
  );
  if (own.length === 0) return false;
  if (!process.stdin.isTTY)
    throw new Failure(`${machine.Name} has disks: say whether they go, too`, {
      hint: `isle vm remove --disks ${name}, or --keep-disks`,
    });
  for (const { Target, Disk, Allocated, Size } of own)
    err.foreign(`  ${Target}  ${Disk}  ${formatBinaryBytes(Allocated)} of ${formatBinaryBytes(Size)}`);
  const answer = await ask(
    err,
    `Remove the disks of ${machine.Name}, too? [y]es, [n]o, keep them, [c]ancel: `,
    false,
  );
  const word = answer?.trim().toLowerCase() ?? 'c';
  if (/^y(es)?$/.test(word)) return true;
  return /^no?$/.test(word) ? false : undefined;
}
