import { isleError } from '../../lib/errors.ts';

/**
 * One object of a request's JSON, read field by field into precise types.
 *
 * As Go's decoder does, names match without regard to case, `null` counts as absent, and a wrong type is refused
 * with the field's path. Hand-written instead of a schema library: importing one costs more memory (17 MB) and
 * start time (80 ms) than all of this server.
 */
export class Fields {
  readonly path: string;
  readonly #values: Map<string, unknown>;

  constructor(value: unknown, path = '') {
    this.path = path;
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw wrong(path || 'the request body', 'an object', value);
    this.#values = new Map(
      Object.entries(value)
        .filter(([, item]) => item !== null)
        .map(([name, item]) => [name.toLowerCase(), item]),
    );
  }

  raw(name: string): unknown {
    return this.#values.get(name.toLowerCase());
  }

  has(name: string): boolean {
    return this.#values.has(name.toLowerCase());
  }

  names(): string[] {
    return [...this.#values.keys()];
  }

  optionalText(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') throw wrong(this.#at(name), 'a text', value);
    if (value.includes('\0'))
      throw isleError('invalidParameter', { message: `${this.#at(name)}: contains a NUL byte` });
    return value;
  }

  text(name: string): string {
    return this.optionalText(name) ?? '';
  }

  optionalFlag(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'boolean') throw wrong(this.#at(name), 'true or false', value);
    return value;
  }

  flag(name: string): boolean {
    return this.optionalFlag(name) ?? false;
  }

  optionalInteger(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value))
      throw wrong(this.#at(name), 'a whole number', value);
    // JSON numbers are doubles here: clients send int64's ends as "unlimited", so clamp instead of refusing.
    return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value));
  }

  integer(name: string): number {
    return this.optionalInteger(name) ?? 0;
  }

  /** Absent when 0, which is how Docker's clients say "not set". */
  positive(name: string): number | undefined {
    const value = this.optionalInteger(name);
    return value === 0 ? undefined : value;
  }

  optionalTexts(name: string): string[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw wrong(this.#at(name), 'a list of texts', value);
    return value.map((item, index) => {
      if (typeof item !== 'string') throw wrong(`${this.#at(name)}[${index}]`, 'a text', item);
      if (item.includes('\0'))
        throw isleError('invalidParameter', { message: `${this.#at(name)}[${index}]: contains a NUL byte` });
      return item;
    });
  }

  texts(name: string): string[] {
    return this.optionalTexts(name) ?? [];
  }

  /** A list, or a single text (Docker's `strslice`). */
  command(name: string): string[] | undefined {
    return typeof this.raw(name) === 'string' ? [this.text(name)] : this.optionalTexts(name);
  }

  optionalTextMap(name: string): Record<string, string> | undefined {
    const entries = this.#entries(name);
    if (!entries) return undefined;
    return Object.fromEntries(
      entries.map(([key, value]) => {
        if (typeof value !== 'string') throw wrong(`${this.#at(name)}["${key}"]`, 'a text', value);
        if (value.includes('\0') || key.includes('\0'))
          throw isleError('invalidParameter', { message: `${this.#at(name)}: contains a NUL byte` });
        return [key, value];
      }),
    );
  }

  textMap(name: string): Record<string, string> {
    return this.optionalTextMap(name) ?? {};
  }

  /** Keys of an object whose values say nothing (`{"80/tcp": {}}`). */
  keys(name: string): string[] {
    return (this.#entries(name) ?? []).map(([key]) => key);
  }

  object(name: string): Fields | undefined {
    const value = this.raw(name);
    return value === undefined ? undefined : new Fields(value, this.#at(name));
  }

  objects(name: string): Fields[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw wrong(this.#at(name), 'a list', value);
    return value.map((item, index) => new Fields(item, `${this.#at(name)}[${index}]`));
  }

  objectMap(name: string): [string, Fields | undefined][] {
    return (this.#entries(name) ?? []).map(([key, value]) => [
      key,
      value === null ? undefined : new Fields(value, `${this.#at(name)}["${key}"]`),
    ]);
  }

  listMap(name: string): [string, Fields[]][] {
    return (this.#entries(name) ?? []).map(([key, value]) => {
      const path = `${this.#at(name)}["${key}"]`;
      if (value === null) return [key, []];
      if (!Array.isArray(value)) throw wrong(path, 'a list', value);
      return [key, value.map((item, index) => new Fields(item, `${path}[${index}]`))];
    });
  }

  /** Refuses fields of the specification that Isle does not serve; values without effect are let through. */
  refuse(...names: string[]): void {
    for (const name of names) {
      if (!isEmpty(this.raw(name)))
        throw isleError('notImplemented', { what: `the field ${this.#at(name)}` });
    }
  }

  invalid(name: string, why: string): Error {
    return isleError('invalidParameter', { message: `invalid ${this.#at(name)}: ${why}` });
  }

  #entries(name: string): [string, unknown][] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw wrong(this.#at(name), 'an object', value);
    return Object.entries(value);
  }

  #at(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }
}

/** Without effect: a zero of its type, or an object of such. Nothing that Docker's clients send is nested deeper than `depth`. */
function isEmpty(value: unknown, depth = 4): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value !== 'object' || depth === 0) return false;
  return Object.values(value).every((item) => isEmpty(item, depth - 1));
}

function wrong(path: string, expected: string, value: unknown): Error {
  const got = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
  return isleError('invalidParameter', { message: `invalid JSON: ${path} must be ${expected}, not ${got}` });
}
