import { templateError } from '../failure.ts';

/** Go's truth: false, 0, nil and anything empty are false. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** A value as Go's fmt prints it with %v. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return '<no value>';
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([key, one]) => `${key}:${show(one)}`).join(' ')}]`;
  }
  return String(value as number | boolean | bigint);
}

type TemplateFunction = (...args: unknown[]) => unknown;

/** Docker's template functions and the built-in ones of Go. */
export const functions: Readonly<Record<string, TemplateFunction>> = {
  json: (value) => JSON.stringify(value ?? null),
  jsonpretty: (value) => JSON.stringify(value ?? null, null, 4),
  join: (values, separator) => toList(values, 'join').map(show).join(show(separator)),
  split: (value, separator) => show(value).split(show(separator)),
  lower: (value) => show(value).toLowerCase(),
  upper: (value) => show(value).toUpperCase(),
  title: (value) => show(value).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  pad: (value, before, after) =>
    `${' '.repeat(toNumber(before))}${show(value)}${' '.repeat(toNumber(after))}`,
  truncate: (value, length) => show(value).slice(0, toNumber(length)),
  println: (...values) => `${values.map(show).join(' ')}\n`,
  print: (...values) => values.map(show).join(''),
  printf: (format, ...values) => printf(show(format), values),
  len: (value) => {
    if (typeof value === 'string') return Buffer.byteLength(value);
    if (Array.isArray(value)) return value.length;
    return typeof value === 'object' && value !== null ? Object.keys(value).length : 0;
  },
  index: (value, ...keys) => keys.reduce(index, value),
  slice: (value, from, to) => {
    const end = to === undefined ? undefined : toNumber(to);
    return Array.isArray(value) ? value.slice(toNumber(from), end) : show(value).slice(toNumber(from), end);
  },
  not: (value) => !isTrue(value),
  eq: (first, ...others) => others.some((other) => equal(first, other)),
  ne: (a, b) => !equal(a, b),
  lt: (a, b) => compare(a, b) < 0,
  le: (a, b) => compare(a, b) <= 0,
  gt: (a, b) => compare(a, b) > 0,
  ge: (a, b) => compare(a, b) >= 0,
  html: (value) => show(value).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`),
  urlquery: (value) => encodeURIComponent(show(value)),
};

function toList(value: unknown, user: string): unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw templateError(`template: ${user} needs a list, not ${show(value)}`);
}

function toNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  throw templateError(`template: expected a number, not ${show(value)}`);
}

function index(value: unknown, key: unknown): unknown {
  if (value === undefined || value === null) return undefined;
  if (Array.isArray(value)) {
    const at = toNumber(key);
    if (at < 0 || at >= value.length) throw templateError(`template: index out of range: ${at}`);
    return value[at] as unknown;
  }
  if (typeof value !== 'object') throw templateError(`template: cannot index ${show(value)}`);
  const name = show(key);
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

function equal(a: unknown, b: unknown): boolean {
  return (
    a === b ||
    (isEmpty(a) && isEmpty(b)) ||
    (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b))
  );
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null;
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [x, y] = [show(a), show(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** The verbs people use: %s %v %d %q %t %x %f %%, with width and left alignment. */
function printf(format: string, values: readonly unknown[]): string {
  let at = 0;
  return format.replace(
    /%(-?)(0?)(\d*)(?:\.(\d+))?([a-zA-Z%])/g,
    (all, left: string, zero: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === '%') return '%';
      const value = values[at++];
      const text = formatVerb(verb, value, precision, all);
      return left === '' ? text.padStart(Number(width), zero === '' ? ' ' : '0') : text.padEnd(Number(width));
    },
  );
}

function formatVerb(verb: string, value: unknown, precision: string | undefined, all: string): string {
  switch (verb) {
    case 's':
    case 'v':
      return precision === undefined ? show(value) : show(value).slice(0, Number(precision));
    case 't':
    case 'd':
      return show(value);
    case 'q':
      return JSON.stringify(show(value));
    case 'x':
      return typeof value === 'number' ? value.toString(16) : Buffer.from(show(value)).toString('hex');
    case 'f':
      return toNumber(value).toFixed(precision === undefined ? 6 : Number(precision));
    default:
      throw templateError(`template: printf does not know ${all}`);
  }
}
