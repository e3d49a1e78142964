import { containerPath } from '../each-name.ts';
import type { ContainerSummary } from '../client/types.ts';
import type { Context } from '../context.ts';
import { defineCommand } from '../command.ts';
import { boolean, text } from '../flags.ts';
import { printListing } from '../list-output.ts';
import { LiveStats } from '../stats/live.ts';
import { type Sample, type StatsAnswer, statsColumns, statsFields, toSample } from '../stats/sample.ts';

export const command = defineCommand({
  usage: '[OPTIONS] [CONTAINER...]',
  examples: [
    { run: 'stats', does: 'all that run, live' },
    { run: "stats --no-stream --format '{{.Name}} {{.MemUsage}}'", does: 'once, for scripts' },
  ],
  flags: {
    all: boolean('Stopped ones too', { short: 'a' }),
    format: text("'table', 'json', or a Go template"),
    'no-stream': boolean('Once'),
    'no-trunc': boolean("Don't shorten anything"),
  },
  args: [0, Number.POSITIVE_INFINITY],
  complete: ['running'],
  async run(context, { args, flags }) {
    const isolations = new Map<string, string>();
    const list = async () => {
      const rows = await context.client.get<ContainerSummary[]>('/containers/json', {
        all: flags.all || args.length > 0 || undefined,
      });
      for (const row of rows) isolations.set(row.Id, row.HostConfig?.Annotations?.['isle.isolation'] ?? '');
      return args.length > 0 ? args : rows.map((row) => row.Id);
    };
    const show = (samples: readonly Sample[]) =>
      printSamples(
        context,
        samples.map((sample) => ({ ...sample, isolation: isolations.get(sample.id) })),
        { format: flags.format, 'no-trunc': flags['no-trunc'] },
      );
    if (flags['no-stream']) {
      const names = await list();
      const samples = await Promise.all(
        names.map(async (name) => {
          const answer = await context.client.get<StatsAnswer>(`${containerPath(name)}/stats`, {
            stream: false,
          });
          return toSample(name, answer);
        }),
      );
      await show(samples);
      return;
    }
    await new LiveStats(context, list, show, args.length > 0).run();
  },
});

async function printSamples(
  context: Context,
  samples: readonly Sample[],
  flags: { format: string | undefined; 'no-trunc': boolean },
): Promise<void> {
  const full = flags['no-trunc'];
  await printListing(
    context,
    { ...flags, quiet: false },
    {
      rows: samples,
      columns: statsColumns(context.out.paint, full),
      id: (row) => row.id,
      fields: (row) => statsFields(row, full),
    },
  );
}
