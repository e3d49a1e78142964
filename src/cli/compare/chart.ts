import { writeFile } from 'node:fs/promises';
import { messageOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';
import { type IsolationName, isolations } from './isolations.ts';
import { formatValue, type Metric, metrics } from './metrics.ts';
import type { IsolationReport, Report } from './report.ts';
import type { Summary, Unit } from './samples.ts';

/** Writes the comparison as a chart. Throws a {@link Failure} that names the file when it cannot. */
export async function writeChart(path: string, report: Report): Promise<void> {
  try {
    await writeFile(path, renderChart(report));
  } catch (cause) {
    throw new Failure(`cannot write ${path}: ${messageOf(cause)}`, { exitCode: 125, cause });
  }
}

/** Pixels. */
const width = 960;
const margin = 24;
const gap = 28;
const columns = 3;
const panelWidth = (width - 2 * margin - (columns - 1) * gap) / columns;
const labels = 62;
const barHeight = 14;
const rowHeight = 22;
const panelTop = 24;
const axisHeight = 30;
const headHeight = 84;
/** The part of a panel's width that the longest bar may take: its value stands beside it. */
const fullest = 0.7;

/**
 * An SVG document: a panel for each metric, a bar for each isolation, whiskers from least to greatest. It needs nothing
 * else, and follows the reader's choice of light or dark.
 */
export function renderChart(report: Report): string {
  const shown = report.isolations.filter(({ state }) => state !== 'unavailable');
  const panels = metrics
    .map((metric) => ({ metric, bars: barsOf(metric, shown) }))
    .filter(({ bars }) => bars.some(({ summary }) => summary !== undefined && summary.high > 0));
  const panelHeight = panelTop + shown.length * rowHeight + axisHeight;
  const rows = Math.ceil(panels.length / columns);
  const height = headHeight + rows * (panelHeight + gap) + margin;
  const drawn = panels.map(({ metric, bars }, at) => {
    const x = margin + (at % columns) * (panelWidth + gap);
    const y = headHeight + Math.floor(at / columns) * (panelHeight + gap);
    return `<g transform="translate(${round(x)} ${round(y)})">${panel(metric, bars)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="system-ui, sans-serif">`,
    `<title>${escapeXml(titleOf(report))}</title>`,
    `<desc>${escapeXml(report.advice.summary)}</desc>`,
    `<style>${style}</style>`,
    `<rect class="page" width="${width}" height="${height}"/>`,
    heading(report),
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

function titleOf({ image, command }: Report): string {
  const words = command.length > 0 ? `: ${cut(command.join(' '), 70)}` : '';
  return `What isolation costs for ${cut(image, 70)}${words}`;
}

function heading(report: Report): string {
  const { host, date, options } = report;
  const kvm = host.kvm.usable ? 'KVM' : 'no KVM: the microVM ran under TCG';
  const lines = [
    text(margin, 30, cut(titleOf(report), 100), 'title'),
    text(
      margin,
      50,
      `${cut(host.name, 40)} · ${host.cpus} × ${cut(host.cpu || 'CPU', 50)} · Linux ${cut(host.kernel, 40)} · ${kvm} · ${date.slice(0, 10)}`,
      'small',
    ),
    text(
      margin,
      67,
      `Bars: median of up to ${options.runs} runs (probes: ${options.rounds}); whiskers: least to greatest. ${report.advice.summary}`,
      'small',
    ),
  ];
  return lines.join('\n');
}

interface Bar {
  isolation: IsolationName;
  summary: Summary | undefined;
  state: IsolationReport['state'];
}

function barsOf(metric: Metric, reports: readonly IsolationReport[]): Bar[] {
  return reports.map((report) => ({
    isolation: report.isolation,
    summary: metric.of(report),
    state: report.state,
  }));
}

function panel(metric: Metric, bars: readonly Bar[]): string {
  const summaries = bars.map(({ summary }) => summary).filter((one) => one !== undefined);
  const unit = summaries[0]!.unit;
  const most = Math.max(...summaries.map(({ high }) => high));
  const room = panelWidth - labels;
  const scale = (value: number) => (value / most) * room * fullest;
  const bottom = panelTop + bars.length * rowHeight;
  const better = metric.better === 'less' ? 'less is better' : 'more is better';
  const parts = [
    `<text x="0" y="12" class="metric">${escapeXml(metric.title)} <tspan class="small">${escapeXml(unitWords(unit))}, ${better}</tspan></text>`,
  ];
  for (const tick of ticksTo(most)) {
    const x = round(labels + scale(tick));
    parts.push(
      `<line x1="${x}" x2="${x}" y1="${panelTop - 4}" y2="${bottom + 4}" class="grid"/>`,
      `<text x="${x}" y="${bottom + 17}" class="tick" text-anchor="middle">${escapeXml(tick === 0 ? '0' : formatValue(tick, unit))}</text>`,
    );
  }
  for (const [at, bar] of bars.entries()) parts.push(drawBar(bar, panelTop + at * rowHeight, scale));
  parts.push(`<line x1="${labels}" x2="${labels}" y1="${panelTop - 4}" y2="${bottom + 4}" class="axis"/>`);
  return parts.join('\n');
}

function drawBar({ isolation, summary, state }: Bar, y: number, scale: (value: number) => number): string {
  const middle = y + barHeight / 2;
  const label = `<text x="${labels - 6}" y="${round(middle + 4)}" class="tick" text-anchor="end">${short[isolation]}</text>`;
  if (!summary)
    return `${label}<text x="${labels + 6}" y="${round(middle + 4)}" class="tick">${state === 'failed' ? 'failed' : 'none'}</text>`;
  const { unit, median, low, high, samples } = summary;
  const length = Math.max(1, scale(median));
  const [from, to] = [labels + scale(low), labels + scale(high)].map(round);
  const whisker =
    samples.length > 1
      ? `<path d="M${from} ${middle}H${to}M${from} ${middle - 3}V${middle + 3}M${to} ${middle - 3}V${middle + 3}" class="whisker"/>`
      : '';
  const said = `${isolations[isolation].title}: ${formatValue(median, unit)}`;
  const x = round(labels + Math.max(length, scale(high)) + 6);
  return [
    label,
    `<rect x="${labels}" y="${y}" width="${round(length)}" height="${barHeight}" rx="2" class="${isolation}"><title>${escapeXml(said)}</title></rect>`,
    whisker,
    `<text x="${x}" y="${round(middle + 4)}" class="value">${escapeXml(formatValue(median, unit))}</text>`,
  ].join('');
}

const short: Record<IsolationName, string> = {
  container: 'container',
  userns: '+ userns',
  system: 'system',
  microvm: 'microVM',
};

function unitWords(unit: Unit): string {
  return { ms: 'time', ns: 'time', B: 'bytes', 'B/s': 'bytes a second', '1/s': 'times a second' }[unit];
}

/** Two to four round values from 0 to at most `most`. */
export function ticksTo(most: number): number[] {
  if (!(most > 0) || !Number.isFinite(most)) return [0];
  const rough = most / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const ticks: number[] = [];
  for (let at = 0; at * step <= most * 1.001; at++) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

function text(x: number, y: number, content: string, kind: string): string {
  return `<text x="${x}" y="${y}" class="${kind}">${escapeXml(content)}</text>`;
}

/** Names come from images and hosts: markup becomes text, and what XML 1.0 has no place for goes. */
export function escapeXml(given: string): string {
  return (
    given
      // oxlint-disable-next-line no-control-regex
      .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]|\p{Cs}/gu, '\ufffd')
      .replace(/[&<>"']/g, (char) => entities[char]!)
  );
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function cut(given: string, length: number): string {
  const chars = Array.from(new Intl.Segmenter().segment(given), ({ segment }) => segment);
  return chars.length <= length ? given : `${chars.slice(0, length - 1).join('')}…`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

const style = [
  '.page{fill:#fff}.title{font-size:18px;font-weight:600;fill:#1c2128}.metric{font-size:13px;font-weight:600;fill:#1c2128}',
  '.small{font-size:11px;font-weight:400;fill:#57606a}.tick{font-size:11px;fill:#57606a}.value{font-size:11px;fill:#1c2128}',
  '.grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#8c959f;stroke-width:1}.whisker{stroke:#1c2128;stroke-width:1.2;fill:none}',
  '.container{fill:#4c8bd6}.userns{fill:#3aa58f}.system{fill:#d99a2b}.microvm{fill:#c65b7c}',
  '@media (prefers-color-scheme:dark){.page{fill:#0d1117}.title,.metric,.value{fill:#e6edf3}.small,.tick{fill:#9aa4af}',
  '.grid{stroke:#2a313a}.axis{stroke:#6e7781}.whisker{stroke:#e6edf3}}',
].join('');
