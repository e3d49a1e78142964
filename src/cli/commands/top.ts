import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { renderTable } from '../terminal/table.ts';

export const command = defineCommand({
  usage: 'CONTAINER [ps OPTIONS]',
  examples: [
    { run: 'top web', does: 'its processes' },
    { run: 'top web -eo pid,rss,args', does: 'with columns of your choice' },
  ],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running'],
  interspersed: false,
  async run({ client, out }, { args: [name = '', ...options] }) {
    const { Titles, Processes } = await client.get<{ Titles: string[]; Processes: string[][] | null }>(
      `${containerPath(name)}/top`,
      { ps_args: options.length > 0 ? options.join(' ') : undefined },
    );
    const columns = Titles.map((title, at) => ({ title, ...(at === Titles.length - 1 && { shrink: 20 }) }));
    out.write(renderTable(columns, Processes ?? [], { width: out.columns, title: out.paint.bold }));
  },
});
