import { refusal } from './refuse.ts';

/** What no machine of anybody exceeds; a description that does was made to do harm, or is damaged. */
export const bounds = {
  /** bytes of a description; it is read in one go, and everybody waits for that */
  text: 2 << 20,
  /** Lines, elements, attributes. */
  parts: 50_000,
  /** of XML elements */
  depth: 64,
  disks: 64,
  nics: 32,
  vcpus: 4096,
  memory: 64 * 2 ** 40,
  diskSize: 64 * 2 ** 40,
  /** Files that a description names. */
  files: 1024,
  warnings: 100,
} as const;

/** A whole number in decimal, from `least` to `most`. */
export function wholeNumber(
  text: string,
  range: { least: number; most: number },
  where: string,
  what: string,
): number {
  const value = /^\s*\d{1,16}\s*$/.test(text) ? Number(text) : Number.NaN;
  if (value >= range.least && value <= range.most) return value;
  throw refusal(where, `${what} is "${text}", not a number from ${range.least} to ${range.most}`);
}

export function memoryOf(text: string, unit: number, where: string): number {
  const most = Math.floor(bounds.memory / unit);
  return wholeNumber(text, { least: 1, most }, where, 'its memory') * unit;
}

export function vcpusOf(text: string, where: string): number {
  return wholeNumber(text, { least: 1, most: bounds.vcpus }, where, 'its number of CPUs');
}

/** Six bytes, however they are written: `00:0C:29:…`, `00-0c-…`, `000C29…`. Undefined for what is none, or no card's own. */
export function macOf(text: string | undefined): string | undefined {
  const digits = (text ?? '').replace(/[:\-.\s]/g, '').toLowerCase();
  if (!/^[0-9a-f]{12}$/.test(digits) || /^0+$/.test(digits)) return undefined;
  // The lowest bit marks a group of receivers.
  if (Number.parseInt(digits.slice(0, 2), 16) & 1) return undefined;
  return digits.match(/../g)!.join(':');
}

/** As `8-4-4-4-12` in lower case, whatever brackets or spaces stood in it. */
export function uuidOf(text: string | undefined): string | undefined {
  const digits = (text ?? '').replace(/[^0-9a-fA-F]/g, '').toLowerCase();
  if (digits.length !== 32 || /^0+$/.test(digits)) return undefined;
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
