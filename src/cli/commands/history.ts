import { formatBytes } from '../../lib/units.ts';
import { defineCommand } from '../command.ts';
import { imagePath } from '../image/path.ts';
import { booleanOn, text } from '../flags.ts';
import { type ListColumn, listFlags, printListing } from '../list-output.ts';
import { cut } from '../terminal/table.ts';
import { ago, shortened } from '../words.ts';

interface Entry {
  Id: string;
  /** Seconds since 1970. */
  Created: number;
  CreatedBy: string;
  Size: number;
  Comment: string;
}

export const command = defineCommand({
  usage: '[OPTIONS] IMAGE',
  examples: [{ run: 'history --no-trunc app', does: 'how it was made, in full' }],
  flags: {
    human: booleanOn('Sizes and dates for people', { short: 'H' }),
    platform: text('Platform'),
    ...listFlags,
  },
  args: [1, 1],
  complete: ['image'],
  async run(context, { args: [image = ''], flags }) {
    const rows = await context.client.get<Entry[]>(`${imagePath(image)}/history`, {
      platform: flags.platform,
    });
    const full = flags['no-trunc'];
    const id = (row: Entry) => (row.Id === '<missing>' ? row.Id : shortened(row.Id, full));
    const size = (row: Entry) => (flags.human ? formatBytes(row.Size) : String(row.Size));
    const created = (row: Entry) => (flags.human ? ago(row.Created) : isoTime(row.Created));
    const by = (row: Entry) => {
      const flat = row.CreatedBy.replaceAll('\t', ' ');
      return full ? flat : cut(flat, 45);
    };
    const columns: ListColumn<Entry>[] = [
      { title: 'IMAGE', cell: id },
      { title: 'CREATED', cell: created },
      { title: 'CREATED BY', shrink: 20, cell: by },
      { title: 'SIZE', align: 'right', cell: size },
      { title: 'COMMENT', shrink: 8, cell: (row) => row.Comment },
    ];
    await printListing(context, flags, {
      rows,
      columns,
      id,
      fields: (row) => ({
        ID: id(row),
        CreatedSince: ago(row.Created),
        CreatedAt: isoTime(row.Created),
        CreatedBy: by(row),
        Size: size(row),
        Comment: row.Comment,
      }),
    });
  },
});

function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
}
