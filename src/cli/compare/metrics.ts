import { formatBytes } from '../../lib/units.ts';
import type { IsolationReport } from './report.ts';
import type { Summary, Unit } from './samples.ts';

/** One thing that is measured in every isolation: a row of the table, a panel of the chart. */
export interface Metric {
  group: 'Time' | 'Memory and disk' | 'Speed inside';
  title: string;
  better: 'less' | 'more';
  of(report: IsolationReport): Summary | undefined;
}

export const metrics: readonly Metric[] = [
  { group: 'Time', title: 'started', better: 'less', of: ({ times }) => times.started },
  { group: 'Time', title: 'first output', better: 'less', of: ({ times }) => times.firstOutput },
  { group: 'Time', title: 'port open', better: 'less', of: ({ times }) => times.listening },
  { group: 'Time', title: 'run to its end', better: 'less', of: ({ times }) => times.ended },
  { group: 'Time', title: 'healthy', better: 'less', of: ({ times }) => once('ms', times.healthy) },
  { group: 'Time', title: 'system is up', better: 'less', of: ({ times }) => times.booted },
  { group: 'Time', title: 'stop', better: 'less', of: ({ times }) => times.stop },
  { group: 'Time', title: 'exec of a command', better: 'less', of: ({ times }) => times.exec },
  { group: 'Memory and disk', title: 'memory, all', better: 'less', of: ({ memory }) => memory?.total },
  {
    group: 'Memory and disk',
    title: 'of it monitors',
    better: 'less',
    of: ({ memory }) => once('B', memory?.monitors),
  },
  {
    group: 'Memory and disk',
    title: "of it a guest's",
    better: 'less',
    of: ({ memory }) => (memory && memory.guest > 0 ? once('B', memory.guest) : undefined),
  },
  { group: 'Memory and disk', title: 'disk, own', better: 'less', of: ({ disk }) => once('B', disk?.own) },
  {
    group: 'Memory and disk',
    title: 'disk, made once',
    better: 'less',
    of: ({ disk }) => (disk ? once('B', preparedBytes(disk.prepared)) : undefined),
  },
  { group: 'Speed inside', title: 'CPU (SHA-256)', better: 'more', of: ({ probes }) => probes.cpu },
  {
    group: 'Speed inside',
    title: 'file write + fsync',
    better: 'more',
    of: ({ probes }) => probes.fileWrite,
  },
  { group: 'Speed inside', title: 'file read', better: 'more', of: ({ probes }) => probes.fileRead },
  { group: 'Speed inside', title: 'small files', better: 'more', of: ({ probes }) => probes.smallFiles },
  { group: 'Speed inside', title: 'network send', better: 'more', of: ({ probes }) => probes.netSend },
  { group: 'Speed inside', title: 'network receive', better: 'more', of: ({ probes }) => probes.netReceive },
  { group: 'Speed inside', title: 'round trips', better: 'more', of: ({ probes }) => probes.netRoundTrips },
  { group: 'Speed inside', title: 'system call', better: 'less', of: ({ probes }) => probes.systemCall },
  { group: 'Speed inside', title: 'fork + wait', better: 'less', of: ({ probes }) => probes.fork },
];

export function preparedBytes(prepared: readonly { bytes: number }[]): number {
  return prepared.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** A value for people, with its unit: `61 ms`, `2.4 MB`, `812 MB/s`, `41k/s`. */
export function formatValue(value: number, unit: Unit): string {
  if (unit === 'ms') return formatTime(value / 1000);
  if (unit === 'ns') return formatTime(value / 1e9);
  if (unit === '1/s') return `${formatCount(value)}/s`;
  const text = formatBytes(value).replace(/(?<=\d)(?=[A-Za-z])/, ' ');
  return unit === 'B/s' ? `${text}/s` : text;
}

/** `58–66`, in the unit of the median beside it; empty where there is only one sample. */
export function formatSpread({ unit, median, low, high, samples }: Summary): string {
  if (samples.length < 2) return '';
  const whole = formatValue(median, unit);
  const suffix = whole.slice(whole.search(/[^\d.]/));
  const [from, to] = [low, high].map((value) => formatValue(value, unit));
  if (from === undefined || to === undefined || from === to) return '';
  if (!from.endsWith(suffix) || !to.endsWith(suffix) || suffix === '') return `${from}–${to}`;
  const [least, greatest] = [from, to].map((text) => text.slice(0, -suffix.length));
  // `13k/s` ends as `900/s` does.
  return [least, greatest].every((text) => /\d$/.test(text!)) ? `${least}–${greatest}` : `${from}–${to}`;
}

/** Takes seconds. */
function formatTime(seconds: number): string {
  for (const [unit, size] of [
    ['s', 1],
    ['ms', 1e-3],
    ['µs', 1e-6],
  ] as const)
    if (seconds >= size * 0.9995) return `${digits(seconds / size)} ${unit}`;
  return `${digits(seconds * 1e9)} ns`;
}

function formatCount(value: number): string {
  if (value >= 1e6) return `${digits(value / 1e6)}M`;
  return value >= 1e4 ? `${digits(value / 1e3)}k` : digits(value);
}

/** Three digits that count. */
function digits(value: number): string {
  if (value >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

function once(unit: Unit, value: number | undefined): Summary | undefined {
  return value === undefined ? undefined : { unit, median: value, low: value, high: value, samples: [value] };
}
