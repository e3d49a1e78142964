import type { MachineDiskUsage } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { text } from '../flags.ts';
import { harmless } from '../terminal/paint.ts';
import { detailsOf } from '../vm/details.ts';
import { getMachine, machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  examples: [
    { run: 'vm show deb', does: 'its hardware, disks, networks and addresses' },
    { run: "vm show --format '{{.Hardware.Memory}}' deb", does: 'one thing of it' },
    { run: 'vm show --format json deb', does: 'everything, as the API says it' },
  ],
  flags: { format: text("'json', or a Go template such as '{{.State}}'", { short: 'f' }) },
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [name = ''], flags }) {
    const { client, out } = context;
    const machine = await getMachine(context, name);
    if (flags.format === 'json') return out.line(JSON.stringify(machine, null, 2));
    if (flags.format) {
      const { compileTemplate } = await import('../template/template.ts');
      return out.foreign(compileTemplate(flags.format)(machine));
    }
    const disks = await client.get<MachineDiskUsage[]>(`${machinePath(machine.Id)}/disks`);
    const lines = detailsOf(machine, disks);
    const width = Math.max(...lines.map(([word]) => word.length)) + 2;
    for (const [word, value] of lines)
      out.line(`${out.paint.dim(`${word}:`.padEnd(width))} ${harmless(value)}`);
  },
});
