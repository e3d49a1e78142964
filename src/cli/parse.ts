import { messageOf } from '../lib/errors.ts';
import { usageError } from './failure.ts';
import type { AnyFlag, AnyFlags, Values } from './flags.ts';
import { nearest } from '../lib/suggest.ts';

export interface Parsed<F> {
  args: string[];
  flags: Values<F>;
  /** Long names of the flags that were given. */
  given: Set<string>;
  /** `--help` or (where it is no flag of the command's own) `-h`. */
  help: boolean;
}

export interface ParseOptions {
  /** False: the first argument ends the flags (`run IMAGE --flag` belongs to the image's command). */
  interspersed: boolean;
}

/**
 * Parses as pflag does: `--name value`, `--name=value`, `-xyz`, `-xvalue`, `-x=value`, `--` ends flags.
 * Throws a {@link usageError} that names the flag and, for an unknown one, the nearest.
 */
export function parseArguments<F extends AnyFlags>(
  argv: readonly string[],
  table: F,
  options: ParseOptions,
): Parsed<F> {
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(table)) values[name] = flag.initial;
  const given = new Set<string>();
  const args: string[] = [];
  const names = new Names(table);
  let help = false;

  const assign = (name: string, given_: string) => {
    const flag = table[name] as AnyFlag;
    try {
      values[name] = flag.next(given_, values[name] as never);
    } catch (error) {
      throw usageError(`invalid argument "${given_}" for "${spelled(name, flag)}" flag: ${messageOf(error)}`);
    }
    given.add(name);
  };

  let index = 0;
  const following = (name: string): string => {
    const next = argv[++index];
    if (next === undefined) throw usageError(`flag needs an argument: ${name}`);
    return next;
  };

  for (; index < argv.length; index++) {
    const word = argv[index] as string;
    if (word === '--') {
      args.push(...argv.slice(index + 1));
      break;
    }
    if (word === '-' || !word.startsWith('-')) {
      args.push(word);
      if (options.interspersed) continue;
      args.push(...argv.slice(index + 1));
      break;
    }
    if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const spelling = word.slice(2, equals < 0 ? undefined : equals);
      if (spelling === 'help' && !Object.hasOwn(table, 'help')) {
        help = true;
        continue;
      }
      const name = names.long(spelling);
      const flag = table[name] as AnyFlag;
      if (equals >= 0) assign(name, word.slice(equals + 1));
      else if (flag.optional && !isValue(flag.optional, argv[index + 1])) assign(name, '');
      else assign(name, flag.value === undefined ? 'true' : following(`--${spelling}`));
      continue;
    }
    for (let at = 1; at < word.length; at++) {
      const letter = word[at] as string;
      if (letter === 'h' && !names.hasShort('h')) {
        help = true;
        continue;
      }
      const name = names.short(letter, word);
      const flag = table[name] as AnyFlag;
      const rest = word.slice(at + 1);
      if (rest.startsWith('=')) assign(name, rest.slice(1));
      else if (flag.value === undefined) {
        assign(name, 'true');
        continue;
      } else assign(name, rest === '' ? following(`'${letter}' in ${word}`) : rest);
      break;
    }
  }
  return { args, flags: values as Values<F>, given, help };
}

function isValue(optional: (word: string) => boolean, next: string | undefined): boolean {
  return next !== undefined && !next.startsWith('-') && optional(next);
}

class Names {
  readonly #longs = new Map<string, string>();
  readonly #shorts = new Map<string, string>();

  constructor(table: AnyFlags) {
    for (const [name, flag] of Object.entries(table)) {
      this.#longs.set(name, name);
      for (const alias of flag.aliases ?? []) this.#longs.set(alias, name);
      if (flag.short !== undefined) this.#shorts.set(flag.short, name);
    }
  }

  hasShort(letter: string): boolean {
    return this.#shorts.has(letter);
  }

  long(spelling: string): string {
    const name = this.#longs.get(spelling);
    if (name !== undefined) return name;
    const near = nearest(spelling, [...this.#longs.keys()]);
    throw usageError(
      `unknown flag: --${spelling}`,
      near === undefined ? undefined : `did you mean --${near}?`,
    );
  }

  short(letter: string, word: string): string {
    const name = this.#shorts.get(letter);
    if (name !== undefined) return name;
    throw usageError(`unknown shorthand flag: '${letter}' in ${word}`);
  }
}

function spelled(name: string, flag: AnyFlag): string {
  return flag.short === undefined ? `--${name}` : `-${flag.short}, --${name}`;
}
