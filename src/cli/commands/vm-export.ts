import { extname, resolve } from 'node:path';
import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { followWork } from '../vm/follow-work.ts';
import { exportFormats, formatWord } from '../vm/format-word.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME FILE',
  about:
    'An OVA holds the machine and its disks, for VirtualBox and VMware; the other formats are its disks alone, one file each. The machine has to be off. Nothing is written over.',
  examples: [
    { run: 'vm export web web.ova', does: 'for VirtualBox, VMware ESXi and Workstation' },
    { run: 'vm export web web.vhdx', does: 'its disk for Hyper-V' },
    { run: 'vm export --format raw web /dev/shm/web.disk', does: 'by format' },
  ],
  flags: {
    format: text(`${exportFormats.join(', ')}; else by the file's suffix`, {
      value: 'FORMAT',
      complete: exportFormats,
    }),
    quiet: boolean('No progress', { short: 'q' }),
  },
  args: [2, 2],
  complete: ['machine', 'file'],
  async run(context, { args: [name = '', file = ''], flags }) {
    const format = flags.format ?? extname(file).slice(1);
    if (format === '')
      throw new Failure(
        `"${file}" has no suffix that says the format: say --format ${exportFormats.join('|')}`,
      );
    const { Id } = await getMachine(context, name);
    const { Files } = await followWork<{ Files: string[]; Bytes: number }>(
      context,
      'POST',
      `${machinePath(Id)}/export`,
      { body: { Path: resolve(file), Format: formatWord(format, exportFormats) } },
      { quiet: flags.quiet, cancelled: 'export cancelled; nothing is left of it' },
    );
    for (const written of Files) context.out.line(written);
    return 0;
  },
});
