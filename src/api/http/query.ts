import { isleError } from '../../lib/errors.ts';

/** The query of a request, read as Docker's server reads it. */
export class Query {
  readonly #values: URLSearchParams;

  constructor(url: string) {
    const at = url.indexOf('?');
    this.#values = new URLSearchParams(at < 0 ? '' : url.slice(at + 1));
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The first value, or '' (Docker does not tell an absent one from an empty one). */
  text(name: string): string {
    return this.#values.get(name) ?? '';
  }

  optional(name: string): string | undefined {
    return this.#values.get(name) || undefined;
  }

  all(name: string): string[] {
    return this.#values.getAll(name);
  }

  /** Anything but '', `0`, `no`, `false` and `none` is true. */
  flag(name: string, absent = false): boolean {
    const value = this.#values.get(name);
    if (value === null) return absent;
    return !['', '0', 'no', 'false', 'none'].includes(value.trim().toLowerCase());
  }

  /** A whole number, or undefined when absent or empty. Throws `invalidParameter`. */
  integer(name: string): number | undefined {
    const value = this.#values.get(name);
    if (value === null || value === '') return undefined;
    const number = Number(value);
    if (!/^[+-]?\d+$/.test(value) || !Number.isSafeInteger(number))
      throw isleError('invalidParameter', { message: `${name}: "${value}" is not a whole number` });
    return number;
  }

  /** Refuses query parameters of the specification that Isle does not serve, unless they have no effect. */
  refuse(...names: string[]): void {
    for (const name of names) {
      if (this.flag(name)) throw isleError('notImplemented', { what: `the query parameter "${name}"` });
    }
  }
}
