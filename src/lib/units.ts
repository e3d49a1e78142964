import { isleError } from './errors.ts';

const binary = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4, p: 1024 ** 5 };

/** Parses a size as Docker's flags do (`512m`, `1.5GiB`, `1024`): bytes; units are powers of 1024. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([bkmgtp])?(?:i?b)?$/i.exec(text.trim());
  if (!match)
    throw isleError('invalidParameter', { message: `invalid size: "${text}" (for example 512m or 2g)` });
  const unit = (match[2] ?? 'b').toLowerCase() as keyof typeof binary;
  return Math.floor(Number(match[1]) * binary[unit]);
}

/** A size in powers of 1000 with three significant digits, as `docker images` shows it (`1.23GB`). */
export function formatBytes(bytes: number): string {
  return scale(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], 3);
}

/** A size in powers of 1024 as `docker stats` shows it (`3.5MiB`). */
export function formatBinaryBytes(bytes: number): string {
  return scale(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'], 4);
}

function scale(value: number, base: number, units: string[], digits: number): string {
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`;
}

const durations: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** Parses a Go duration (`1m30s`, `500ms`): nanoseconds. */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  const sign = text.startsWith('-') ? -1 : 1;
  let rest = text.replace(/^[+-]/, '');
  let total = 0;
  if (rest === '') throw isleError('invalidParameter', { message: `invalid duration: "${text}"` });
  while (rest !== '') {
    const match = /^(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/.exec(rest);
    if (!match)
      throw isleError('invalidParameter', { message: `invalid duration: "${text}" (for example 1m30s)` });
    total += Number(match[1]) * durations[match[2] as string]!;
    rest = rest.slice(match[0].length);
  }
  return sign * Math.round(total);
}
