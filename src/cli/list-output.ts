import type { Context } from './context.ts';
import { text, boolean } from './flags.ts';
import { type Cell, type Column, renderTable } from './terminal/table.ts';

/** Flags that every listing has. */
export const listFlags = {
  format: text("Output: 'table', 'table TEMPLATE', 'json', or a Go template such as '{{.ID}}'"),
  'no-trunc': boolean("Don't shorten anything"),
  quiet: boolean('Only names or ids', { short: 'q' }),
} as const;

/** One thing in a listing: the fields that templates and JSON see. */
export type Fields = Record<string, string>;

export interface ListColumn<T> extends Column {
  /** What the table shows; defaults to nothing painted. */
  cell(row: T): Cell | string;
}

export interface Listing<T> {
  rows: readonly T[];
  columns: readonly ListColumn<T>[];
  /** What `-q` prints. */
  id(row: T): string;
  fields(row: T): Fields;
}

/** Prints a listing as its flags want it. */
export async function printListing<T>(
  context: Context,
  flags: { format: string | undefined; quiet: boolean; 'no-trunc'?: boolean },
  listing: Listing<T>,
): Promise<void> {
  const { out } = context;
  const format = flags.format?.trim();
  if (flags.quiet && (format === undefined || format === 'table')) {
    for (const row of listing.rows) out.line(listing.id(row));
  } else if (format === 'json') {
    for (const row of listing.rows) out.line(JSON.stringify(sorted(listing.fields(row))));
  } else if (format === undefined || format === '' || format === 'table') {
    const width = flags['no-trunc'] === true ? undefined : out.columns;
    const cells = listing.rows.map((row) => listing.columns.map((column) => column.cell(row)));
    out.write(renderTable(listing.columns, cells, { width, title: out.paint.bold }));
  } else await printTemplate(context, format, listing);
}

function sorted(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function printTemplate<T>({ out }: Context, format: string, listing: Listing<T>): Promise<void> {
  const { compileTemplate } = await import('./template/template.ts');
  const table = /^table(?:\s+|\\t)(.*)$/s.exec(format);
  const render = compileTemplate(table?.[1] ?? format);
  const lines = listing.rows.map((row) => render(listing.fields(row)));
  if (!table) {
    for (const line of lines) out.foreign(line);
    return;
  }
  const titles = compileTemplate(table[1]!)(headings()).split('\t');
  const rows = lines.map((line) => line.split('\t'));
  out.write(
    renderTable(
      titles.map((title) => ({ title })),
      rows,
      { title: out.paint.bold },
    ),
  );
}

/** Answers every field with its title: `.RunningFor` is `RUNNING FOR`. */
function headings(): unknown {
  const title = (name: string) => (special[name] ?? name.replace(/(?<=[a-z])(?=[A-Z])/g, ' ')).toUpperCase();
  const has = () => true;
  return new Proxy(
    {},
    {
      get: (_, name) => (typeof name === 'string' ? title(name) : undefined),
      has,
      getOwnPropertyDescriptor: (_, name) => ({
        configurable: true,
        enumerable: true,
        value: title(String(name)),
      }),
    },
  );
}

const special: Record<string, string> = {
  ID: 'container id',
  RunningFor: 'created',
  CreatedSince: 'created',
  CreatedAt: 'created at',
  CPUPerc: 'cpu %',
  MemUsage: 'mem usage / limit',
  MemPerc: 'mem %',
  NetIO: 'net i/o',
  BlockIO: 'block i/o',
  PIDs: 'pids',
};
