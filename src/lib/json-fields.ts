/**
 * A JSON object of somebody else's, read field by field: each has its type and its bounds, or `fail` says which has not.
 *
 * @example new Fields(value, 'manifest.json', fail).integer('bytes', { most: 2 ** 50 })
 */
export class Fields {
  readonly #object: Record<string, unknown>;
  readonly #where: string;
  readonly #fail: (why: string) => Error;

  constructor(value: unknown, where: string, fail: (why: string) => Error) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw fail(`${where} is not an object`);
    this.#object = value as Record<string, unknown>;
    this.#where = where;
    this.#fail = fail;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#object, key) && this.#object[key] !== undefined;
  }

  text(key: string, { most = 255, pattern }: { most?: number; pattern?: RegExp } = {}): string {
    const value = this.raw(key);
    if (typeof value !== 'string') throw this.#wrong(key, 'not a text');
    if (value.length > most) throw this.#wrong(key, `longer than ${most} characters`);
    if (pattern ? !pattern.test(value) : /\p{Cc}/u.test(value)) throw this.#wrong(key, 'not a valid one');
    return value;
  }

  /** Any characters, line ends too. */
  document(key: string, most: number): string {
    const value = this.raw(key);
    if (typeof value !== 'string' || value.length > most)
      throw this.#wrong(key, `not a text of at most ${most} characters`);
    return value;
  }

  oneOf<const T extends readonly string[]>(key: string, values: T): T[number] {
    const value = this.raw(key);
    const found = values.find((one) => one === value);
    if (found === undefined) throw this.#wrong(key, `none of ${values.join(', ')}`);
    return found;
  }

  integer(key: string, { least = 0, most = Number.MAX_SAFE_INTEGER } = {}): number {
    const value = this.raw(key);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most)
      throw this.#wrong(key, `not a whole number between ${least} and ${most}`);
    return value;
  }

  flag(key: string): boolean {
    const value = this.raw(key);
    if (typeof value !== 'boolean') throw this.#wrong(key, 'neither true nor false');
    return value;
  }

  object(key: string): Fields {
    return new Fields(this.raw(key), this.#name(key), this.#fail);
  }

  list<T>(key: string, most: number, each: (item: Fields) => T): T[] {
    return this.#items(key, most).map((item, index) =>
      each(new Fields(item, `${this.#name(key)}[${index}]`, this.#fail)),
    );
  }

  texts(key: string, most: number, options: { most?: number; pattern?: RegExp } = {}): string[] {
    const items = this.#items(key, most);
    const fields = new Fields(Object.fromEntries(items.entries()), this.#name(key), this.#fail);
    return items.map((_, index) => fields.text(String(index), options));
  }

  /** An object whose keys are data: texts by text. */
  map(key: string, most: number): Record<string, string> {
    const fields = this.object(key);
    const keys = Object.keys(fields.#object);
    if (keys.length > most) throw this.#wrong(key, `more than ${most} entries`);
    return Object.fromEntries(keys.map((name) => [name, fields.document(name, 65_536)]));
  }

  /** An object whose keys are data: objects by text. */
  entries(key: string, most: number): [string, Fields][] {
    const fields = this.object(key);
    const keys = Object.keys(fields.#object);
    if (keys.length > most) throw this.#wrong(key, `more than ${most} entries`);
    return keys.map((name) => [name, fields.object(name)]);
  }

  /** Undefined when it is not there. */
  maybe<T>(key: string, read: (fields: this) => T): T | undefined {
    return this.has(key) ? read(this) : undefined;
  }

  raw(key: string): unknown {
    if (!Object.hasOwn(this.#object, key)) throw this.#wrong(key, 'missing');
    return this.#object[key];
  }

  #items(key: string, most: number): unknown[] {
    const value = this.raw(key);
    if (!Array.isArray(value)) throw this.#wrong(key, 'not a list');
    if (value.length > most) throw this.#wrong(key, `longer than ${most} entries`);
    return value;
  }

  #name(key: string): string {
    return this.#where === '' ? key : `${this.#where}.${key}`;
  }

  #wrong(key: string, what: string): Error {
    return this.#fail(`${this.#name(key)} is ${what}`);
  }
}
