import { defineCommand } from '../command.ts';
import { encodeFilters, filterFlag } from '../filters.ts';
import { text } from '../flags.ts';
import { harmless } from '../terminal/paint.ts';
import { toTimestamp } from '../time.ts';

interface Event {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> | null };
  time: number;
  timeNano: number;
}

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [
    { run: 'events --since 10m', does: 'the last ten minutes, and what comes' },
    { run: 'events --filter type=container --filter event=die', does: 'only what ends' },
  ],
  flags: {
    filter: filterFlag,
    format: text("'json', or a Go template"),
    since: text('From a time or as long ago as (10m)'),
    until: text('Up to a time'),
  },
  args: [0, 0],
  async run({ client, out }, { flags }) {
    const events = client.lines<Event>('GET', '/events', {
      query: {
        filters: encodeFilters(flags.filter),
        since: flags.since && toTimestamp(flags.since),
        until: flags.until && toTimestamp(flags.until),
      },
    });
    const render =
      flags.format === undefined || flags.format === 'json'
        ? undefined
        : (await import('../template/template.ts')).compileTemplate(flags.format);
    for await (const event of events) {
      if (render) out.foreign(render(event));
      else out.line(flags.format === 'json' ? JSON.stringify(event) : formatEvent(event));
    }
  },
});

function formatEvent(event: Event): string {
  const attributes = Object.entries(event.Actor.Attributes ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');
  const time = `${new Date(event.time * 1000).toISOString().slice(0, 19)}.${String(event.timeNano).slice(-9)}Z`;
  return harmless(
    `${time} ${event.Type} ${event.Action} ${event.Actor.ID}${attributes === '' ? '' : ` (${attributes})`}`,
  );
}
