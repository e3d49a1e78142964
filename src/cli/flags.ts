import { parseBytes, parseDuration } from '../lib/units.ts';
import { Failure } from './failure.ts';

/** What may stand where a value is asked for; feeds shell completion. */
export type Completion =
  | 'container'
  | 'running'
  | 'machine'
  | 'running-machine'
  | 'image'
  | 'network'
  | 'volume'
  | 'runtime'
  | 'file'
  | 'command'
  | readonly string[];

/** One flag of a command: parses its text, and describes itself for help and completion. */
export interface Flag<T> {
  readonly help: string;
  readonly short?: string;
  /** The placeholder in help; absent for a flag without a value. */
  readonly value?: string;
  readonly initial: T;
  /** The value after one more occurrence with `text`; throws a message without the flag's name. */
  readonly next: (text: string, previous: T) => T;
  readonly complete?: Completion;
  /** Its value may be missing: whether the next word is it. Without: ''. */
  readonly optional?: (word: string) => boolean;
  /** Other spellings that Docker accepts. */
  readonly aliases?: readonly string[];
  readonly hidden?: boolean;
}

export type Flags = Record<string, Flag<never> | Flag<unknown>>;
/** `Flag<T>` is invariant in T; a table of them is only ever read back by its own parser. */
export type AnyFlags = Readonly<Record<string, AnyFlag>>;
// biome-ignore format: one line
export type AnyFlag = Omit<Flag<unknown>, 'next'> & { readonly next: (text: string, previous: never) => unknown };
export type Values<F> = { [K in keyof F]: F[K] extends { readonly initial: infer T } ? T : never };

export interface FlagOptions {
  short?: string;
  value?: string;
  complete?: Completion;
  optional?: (word: string) => boolean;
  aliases?: readonly string[];
  hidden?: boolean;
}

/** `--flag`, `--flag=false`. */
export function boolean(help: string, options: FlagOptions = {}): Flag<boolean> {
  return { help, ...options, initial: false, next: parseBoolean };
}

/** A boolean that is on unless switched off. */
export function booleanOn(help: string, options: FlagOptions = {}): Flag<boolean> {
  return { help, ...options, initial: true, next: parseBoolean };
}

/** A boolean that knows whether it was given. */
export function maybeBoolean(help: string, options: FlagOptions = {}): Flag<boolean | undefined> {
  return { help, ...options, initial: undefined, next: parseBoolean };
}

export function text(help: string, options: FlagOptions = {}): Flag<string | undefined> {
  return { help, value: 'string', ...options, initial: undefined, next: (given) => given };
}

export function textOr(initial: string, help: string, options: FlagOptions = {}): Flag<string> {
  return { help, value: 'string', ...options, initial, next: (given) => given };
}

/** One of `values`. */
export function choice(
  values: readonly string[],
  help: string,
  options: FlagOptions = {},
): Flag<string | undefined> {
  const next = (given: string) => {
    if (values.includes(given)) return given;
    throw new Failure(`must be one of ${values.map((value) => `"${value}"`).join(', ')}`);
  };
  return { help, value: values.join('|'), complete: values, ...options, initial: undefined, next };
}

export function integer(help: string, options: FlagOptions = {}): Flag<number | undefined> {
  return { help, value: 'int', ...options, initial: undefined, next: (given) => parseInteger(given) };
}

/** A whole number from `min` to `max`. */
export function integerWithin(
  min: number,
  max: number,
  help: string,
  options: FlagOptions = {},
): Flag<number | undefined> {
  const next = (given: string) => {
    const value = parseInteger(given);
    if (value < min || value > max) throw new Failure(`value out of range (${min} to ${max}): ${given}`);
    return value;
  };
  return { help, value: 'int', ...options, initial: undefined, next };
}

/** May be given several times. */
export function list(help: string, options: FlagOptions = {}): Flag<string[]> {
  return { help, value: 'list', ...options, initial: [], next: (given, previous) => [...previous, given] };
}

/** Several times, or once with commas (pflag's StringSlice). */
export function commaList(help: string, options: FlagOptions = {}): Flag<string[]> {
  const next = (given: string, previous: string[]) => [...previous, ...given.split(',')];
  return { help, value: 'strings', ...options, initial: [], next };
}

/** Several times, each parsed by `parse`. */
export function each<T>(help: string, parse: (given: string) => T, options: FlagOptions = {}): Flag<T[]> {
  const next = (given: string, previous: T[]) => [...previous, parse(given)];
  return { help, value: 'list', ...options, initial: [], next };
}

/** A single value parsed by `parse`. */
export function parsed<T>(
  help: string,
  parse: (given: string) => T,
  options: FlagOptions = {},
): Flag<T | undefined> {
  return { help, value: 'string', ...options, initial: undefined, next: (given) => parse(given) };
}

/** Bytes, with Docker's units (`512m`). */
export function bytes(help: string, options: FlagOptions = {}): Flag<number | undefined> {
  return parsed(help, parseBytes, { value: 'bytes', ...options });
}

/** Nanoseconds, from a Go duration (`1m30s`). */
export function duration(help: string, options: FlagOptions = {}): Flag<number | undefined> {
  return parsed(help, parseDuration, { value: 'duration', ...options });
}

export function parseInteger(given: string): number {
  if (!/^[+-]?\d{1,18}$/.test(given)) throw new Failure(`not a whole number: ${given}`);
  return Number(given);
}

const truth: Record<string, boolean> = {};
for (const word of ['1', 't', 'T', 'true', 'TRUE', 'True']) truth[word] = true;
for (const word of ['0', 'f', 'F', 'false', 'FALSE', 'False']) truth[word] = false;

/** Go's strconv.ParseBool. */
export function parseBoolean(given: string): boolean {
  const value = Object.hasOwn(truth, given) ? truth[given] : undefined;
  if (value === undefined) throw new Failure(`not true or false: ${given}`);
  return value;
}
