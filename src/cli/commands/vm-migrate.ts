import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { followWork } from '../vm/follow-work.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  about:
    'Moves a running machine into a new QEMU process under its guest, for example after QEMU was upgraded: the guest stands still for some milliseconds, its connections stay. If it fails, the guest goes on where it was.',
  examples: [{ run: 'vm migrate web', does: 'into the QEMU that is installed now' }],
  flags: { quiet: boolean('No progress', { short: 'q' }) },
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [name = ''], flags }) {
    const { Id, Name } = await getMachine(context, name);
    const moved = await followWork<{ PausedMs: number; QemuVersion: string }>(
      context,
      'POST',
      `${machinePath(Id)}/migrate`,
      {},
      { quiet: flags.quiet, cancelled: 'migration cancelled; the guest goes on where it was' },
    );
    if (!flags.quiet)
      context.err.line(
        `${Name} runs in a new QEMU ${moved.QemuVersion}; its guest stood still for ${Math.round(moved.PausedMs)} ms`,
      );
    context.out.line(Name);
    return 0;
  },
});
