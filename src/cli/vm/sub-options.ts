import { nearest } from '../../lib/suggest.ts';
import { Failure } from '../failure.ts';
import { parseInteger } from '../flags.ts';

/**
 * The value of one of virt-install's flags: `size=20,bus=virtio` or with a bare first word, `debian.qcow2,format=qcow2`.
 * Each reader takes what it knows; {@link end} refuses what nobody took, so that nothing is silently left out.
 */
export class SubOptions {
  /** What is to be said to the user, such as what has no effect here. */
  readonly notes: string[] = [];
  readonly #left = new Map<string, string>();
  readonly #known: string[] = [];

  /** @param first the name of a bare first word. */
  constructor(given: string, first?: string) {
    for (const [at, field] of split(given).entries()) {
      const equals = field.indexOf('=');
      if (equals < 0 && at === 0 && first !== undefined) {
        this.#left.set(first, field);
        continue;
      }
      const name = (equals < 0 ? field : field.slice(0, equals)).trim();
      if (name === '') throw new Failure(`an option without a name in "${given}"`);
      if (this.#left.has(name)) throw new Failure(`${name} is said twice`);
      this.#left.set(name, equals < 0 ? 'yes' : field.slice(equals + 1));
    }
  }

  /** By its name or another spelling. */
  text(...names: [string, ...string[]]): string | undefined {
    this.#known.push(...names);
    const [found, ...more] = names.filter((name) => this.#left.has(name));
    if (found === undefined) return undefined;
    if (more.length > 0) throw new Failure(`${found} and ${more.join(', ')} are the same: say one`);
    const value = this.#left.get(found)!;
    this.#left.delete(found);
    return value;
  }

  /** Bare words among `names`, in the order said. */
  words<T extends string>(names: readonly T[]): T[] {
    this.#known.push(...names);
    const found = [...this.#left.keys()].flatMap((name) => names.find((one) => one === name) ?? []);
    for (const name of found) this.#left.delete(name);
    return found;
  }

  flag(...names: [string, ...string[]]): boolean | undefined {
    const value = this.text(...names);
    if (value === undefined) return undefined;
    if (/^(yes|on|true|1)$/i.test(value)) return true;
    if (/^(no|off|false|0)$/i.test(value)) return false;
    throw new Failure(`${names[0]} must be on or off, not "${value}"`);
  }

  integer(...names: [string, ...string[]]): number | undefined {
    const value = this.text(...names);
    if (value === undefined) return undefined;
    const number = parseInteger(value);
    if (number < 0) throw new Failure(`${names[0]} cannot be ${value}`);
    return number;
  }

  choice<T extends string>(allowed: readonly T[], ...names: [string, ...string[]]): T | undefined {
    const value = this.text(...names);
    if (value === undefined) return undefined;
    const found = allowed.find((one) => one === value.toLowerCase());
    if (found !== undefined) return found;
    throw new Failure(`${names[0]} must be one of ${allowed.join(', ')}, not "${value}"`);
  }

  /** Those that Isle decides itself: accepted and said. */
  ignore(why: string, ...names: string[]): void {
    const found = [...this.#left.keys()].filter((name) => names.includes(name));
    for (const name of found) this.#left.delete(name);
    if (found.length > 0) this.notes.push(`${found.join(', ')} has no effect: ${why}`);
  }

  refuse(name: string, hint: string): void {
    if (this.#left.has(name)) throw new Failure(`${name} is not supported: ${hint}`);
  }

  end(): void {
    const [name] = this.#left.keys();
    if (name === undefined) return;
    const near = nearest(name, this.#known);
    throw new Failure(
      `unknown option "${name}"${near === undefined ? ` (there are ${this.#known.join(', ')})` : ` (did you mean ${near}?)`}`,
    );
  }
}

/** At commas outside of quotes; quotes go. */
function split(text: string): string[] {
  const fields: string[] = [''];
  let quote = '';
  for (const char of text) {
    if (quote === '' && char === ',') fields.push('');
    else if (quote === '' && (char === '"' || char === "'")) quote = char;
    else if (char === quote) quote = '';
    else fields[fields.length - 1] += char;
  }
  if (quote !== '') throw new Failure(`a ${quote} without its end`);
  return fields.filter((field, at) => field !== '' || (at === 0 && fields.length > 1));
}
