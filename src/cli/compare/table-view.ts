import type { Output } from '../terminal/output.ts';
import { harmless, type Paint } from '../terminal/paint.ts';
import { plural } from '../words.ts';
import { type Cell, cut, displayWidth, renderTable } from '../terminal/table.ts';
import { isolations } from './isolations.ts';
import { formatSpread, formatValue, type Metric, metrics } from './metrics.ts';
import type { IsolationReport, Report } from './report.ts';
import { sharingRows } from './sharing-rows.ts';
import type { Summary } from './samples.ts';

/** The comparison for eyes: one table where it fits, without spreads or as one list for each isolation where not. */
export function printReport(out: Output, report: Report): void {
  const { paint } = out;
  const width = out.columns;
  out.write(`${heading(report, paint, width)}\n`);
  const shown = report.isolations.filter(({ state }) => state !== 'unavailable');
  if (shown.length > 0) out.write(`${bestTable(shown, paint, width)}\n`);
  const { load, cpus } = report.host;
  if (load > cpus)
    out.write(
      wrapped(
        `The host is busy with other things (load ${load.toFixed(1)} on ${plural(cpus, 'CPU')}): expect rough numbers.`,
        width,
      ),
    );
  const remarks = remarksOf(report);
  for (const [title, text] of remarks)
    out.write(wrapped(`${title}: ${text}`, width, paint.yellow(title), title));
  if (remarks.length > 0) out.line();
  out.write(adviceText(report, paint, width));
}

function heading(
  { image, host, workload, options }: Report,
  paint: Paint,
  width: number | undefined,
): string {
  const runs = `up to ${plural(options.runs, 'run')} of each`;
  const about = [
    `${host.name}, ${host.cpus} × ${host.cpu || 'CPU'}, Linux ${host.kernel}`,
    host.kvm.usable ? 'KVM' : `no KVM (${host.kvm.why})`,
    `a ${workload.kind === 'unknown' ? 'workload' : workload.kind}, ${runs}: median (least–greatest)`,
  ].join('; ');
  return `${paint.bold(harmless(image))}\n${wrapped(about, width)}`;
}

type Row = { title: string; cells: Cell[] } | { heading: string };

function bestTable(reports: readonly IsolationReport[], paint: Paint, width: number | undefined): string {
  for (const spread of [true, false]) {
    const rows = rowsOf(reports, paint, spread);
    if (width === undefined || widthOf(rows, reports) <= width) return asTable(rows, reports, paint);
  }
  return asLists(rowsOf(reports, paint, true), reports, paint, width ?? 80);
}

function rowsOf(reports: readonly IsolationReport[], paint: Paint, spread: boolean): Row[] {
  const rows: Row[] = [];
  let group = '';
  for (const metric of metrics) {
    const summaries = reports.map((report) => metric.of(report));
    if (summaries.every((summary) => summary === undefined)) continue;
    if (metric.group !== group) rows.push({ heading: metric.group });
    group = metric.group;
    rows.push({
      title: metric.title,
      cells: summaries.map((summary, at) =>
        metricCell(metric, summary, summaries, reports[at]!, paint, spread),
      ),
    });
  }
  rows.push({ heading: 'Shared with the host' });
  for (const { title, of } of sharingRows)
    rows.push({
      title,
      cells: reports.map(({ sharing }) => {
        if (!sharing) return { text: '-', paint: paint.dim };
        const { text, exposed } = of(sharing);
        return exposed ? { text, paint: paint.yellow } : { text };
      }),
    });
  return rows;
}

function metricCell(
  metric: Metric,
  summary: Summary | undefined,
  all: readonly (Summary | undefined)[],
  report: IsolationReport,
  paint: Paint,
  spread: boolean,
): Cell {
  if (!summary) return { text: '-', paint: paint.dim };
  const range = spread ? formatSpread(summary) : '';
  const ignored = metric.title === 'stop' && report.times.ignoresStop ? ' (killed)' : '';
  const text = `${formatValue(summary.median, summary.unit)}${ignored}${range === '' ? '' : ` (${range})`}`;
  const medians = all.filter((one) => one !== undefined).map(({ median }) => median);
  const best = metric.better === 'less' ? Math.min(...medians) : Math.max(...medians);
  const factor = metric.better === 'less' ? summary.median / best : best / summary.median;
  if (medians.length < 2 || best === 0 || !Number.isFinite(factor)) return { text };
  if (factor >= 10) return { text, paint: paint.red };
  if (factor >= 2) return { text, paint: paint.yellow };
  return factor <= 1.05 ? { text, paint: paint.green } : { text };
}

function titleOf({ isolation }: IsolationReport): string {
  return isolations[isolation].title;
}

function widthOf(rows: readonly Row[], reports: readonly IsolationReport[]): number {
  let total = Math.max(...rows.map((row) => displayWidth('heading' in row ? row.heading : `  ${row.title}`)));
  for (const [at, report] of reports.entries()) {
    const cells = rows.map((row) => ('heading' in row ? 0 : displayWidth(row.cells[at]!.text)));
    total += 3 + Math.max(displayWidth(titleOf(report)), ...cells);
  }
  return total;
}

function asTable(rows: readonly Row[], reports: readonly IsolationReport[], paint: Paint): string {
  const columns = [{ title: '' }, ...reports.map((report) => ({ title: titleOf(report) }))];
  const cells = rows.map((row) =>
    'heading' in row ? [{ text: row.heading, paint: paint.bold }] : [`  ${row.title}`, ...row.cells],
  );
  return renderTable(columns, cells, { title: paint.bold });
}

/** For terminals that are narrower than the table. */
function asLists(
  rows: readonly Row[],
  reports: readonly IsolationReport[],
  paint: Paint,
  width: number,
): string {
  return reports
    .map((report, at) => {
      const lines = rows.flatMap((row) => {
        if ('heading' in row) return [];
        const { text, paint: style = String } = row.cells[at]!;
        if (text === '-') return [];
        const shown = harmless(text);
        if (24 + displayWidth(shown) <= width) return [`  ${row.title.padEnd(21)} ${style(shown)}\n`];
        return [`  ${row.title}\n`, `    ${style(cut(shown, width - 4))}\n`];
      });
      return `${paint.bold(titleOf(report))}\n${lines.join('')}`;
    })
    .join('\n');
}

function remarksOf({ isolations: reports }: Report): [title: string, text: string][] {
  return reports.flatMap((report): [string, string][] => {
    const title = titleOf(report);
    const state = { measured: '', failed: 'failed', unavailable: 'not available' }[report.state];
    const why: [string, string][] =
      report.state === 'measured' ? [] : [[title, `${state}: ${report.reason ?? ''}`]];
    return [...why, ...report.notes.map((note): [string, string] => [title, note])];
  });
}

function adviceText({ advice }: Report, paint: Paint, width: number | undefined): string {
  const [first = '', ...rest] = wrapped(advice.summary, width).split('\n');
  const reasons = advice.reasons.map((reason) => wrapped(reason, width, '- ', '- '));
  return `${paint.bold(paint.green(first))}\n${rest
    .filter(Boolean)
    .map((line) => `${paint.bold(paint.green(line))}\n`)
    .join('')}${reasons.join('')}`;
}

/** Lines of at most `width` columns. `lead` stands for the `plain` text that `text` begins with, or comes before it. */
function wrapped(text: string, width: number | undefined, lead = '', plain = ''): string {
  const room = Math.max(30, Math.min(width ?? 110, 110));
  const rest = text.startsWith(plain) ? text.slice(plain.length) : text;
  const lines: string[] = [];
  let line = plain;
  for (const word of harmless(rest).split(/\s+/).filter(Boolean)) {
    const glue =
      line === '' ||
      line.endsWith(' ') ||
      word === ':' ||
      (lines.length === 0 && line === plain && rest.startsWith(':'))
        ? ''
        : ' ';
    if (line !== '' && displayWidth(line) + displayWidth(glue + word) > room) {
      lines.push(line);
      line = `  ${word}`;
    } else line += glue + word;
  }
  lines.push(line);
  lines[0] = lead + lines[0]!.slice(plain.length);
  return lines.map((one) => `${one}\n`).join('');
}
