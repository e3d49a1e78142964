import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { text } from '../flags.ts';
import { saveStream } from '../save-stream.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [FILE.png|-]',
  about:
    'A PNG of what the screen shows now. Without a file it is written to NAME.png here; - is standard output.',
  examples: [
    { run: 'vm screenshot deb', does: 'to deb.png' },
    { run: 'vm screenshot deb - | display', does: 'to a program' },
  ],
  flags: { output: text('The file', { short: 'o', complete: 'file', aliases: ['file'] }) },
  args: [1, 2],
  complete: ['running-machine', 'file'],
  async run(context, { args: [name = '', argument], flags }) {
    if (argument !== undefined && flags.output !== undefined) throw new Failure('the file is given twice');
    const { Id, Name } = await getMachine(context, name);
    const target = argument ?? flags.output ?? `${Name}.png`;
    const path = target === '-' ? undefined : target;
    await saveStream(context, path, async (signal) => {
      return await context.client.body('GET', `${machinePath(Id)}/screenshot`, { signal });
    });
    if (path !== undefined) context.out.line(path);
  },
});
