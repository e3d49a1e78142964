import type { HealthCheck } from '../engine/model.ts';
import { isleError } from '../lib/errors.ts';
import type { ImageConfig } from './images.ts';
import { type Fail, isObject, type Json, parseJson } from './json-document.ts';
import { maxConfigBytes } from './manifest.ts';
import { isDigest } from './reference.ts';

/** Of a list or a map: each item is checked on the event loop, and no image has a hundredth of this. */
const maxItems = 10_000;

/** An OCI (or Docker) image configuration, checked. */
export interface ParsedConfig {
  /** RFC 3339; empty when the image has none. */
  createdAt: string;
  author: string;
  comment: string;
  architecture: string;
  variant?: string;
  os: string;
  osVersion?: string;
  diffIds: string[];
  history: { createdAt: string; createdBy: string; comment: string; author: string; emptyLayer: boolean }[];
  config: ImageConfig;
  rawConfig: Record<string, unknown>;
}

/**
 * Parses the configuration blob `digest` strictly: an image is hostile, so each field must have its type, and
 * no string holds a NUL, which would cut it short where it becomes an argument or a path. Go writes absent
 * lists and maps as `null`; that is accepted. Throws `invalidImageConfig`.
 */
export function parseImageConfig(content: Buffer, digest: string): ParsedConfig {
  const fail: Fail = (why) => isleError('invalidImageConfig', { digest, why });
  if (content.length > maxConfigBytes) throw fail(`it is larger than ${maxConfigBytes} bytes`);
  const document = new Fields(parseJson(content, fail), '', fail);
  const rootfs = document.object('rootfs');
  const diffIds = rootfs.strings('diff_ids');
  const wrong = diffIds.find((diffId) => !isDigest(diffId));
  if (wrong !== undefined) throw fail(`rootfs.diff_ids holds something that is not a sha256 digest`);
  const config = document.object('config');
  return {
    createdAt: document.time('created'),
    author: document.text('author'),
    comment: document.text('comment'),
    architecture: document.word('architecture'),
    variant: document.word('variant') || undefined,
    os: document.word('os') || 'linux',
    osVersion: document.word('os.version') || undefined,
    diffIds,
    history: document.objects('history').map((entry) => ({
      createdAt: entry.time('created'),
      createdBy: entry.text('created_by'),
      comment: entry.text('comment'),
      author: entry.text('author'),
      emptyLayer: entry.flag('empty_layer'),
    })),
    config: parseConfig(config),
    rawConfig: config.raw,
  };
}

/** The `config` object of an image configuration (also what `commit` and `import` are given). */
function parseConfig(config: Fields): ImageConfig {
  return {
    user: config.line('User'),
    env: config.strings('Env'),
    entrypoint: config.optionalStrings('Entrypoint'),
    command: config.optionalStrings('Cmd'),
    workingDir: config.line('WorkingDir'),
    labels: config.stringMap('Labels'),
    exposedPorts: config.keys('ExposedPorts'),
    volumes: config.keys('Volumes'),
    stopSignal: config.line('StopSignal') || undefined,
    shell: config.optionalStrings('Shell'),
    healthcheck: config.has('Healthcheck') ? parseHealthCheck(config.object('Healthcheck')) : undefined,
    onBuild: config.optionalStrings('OnBuild'),
    argsEscaped: config.flag('ArgsEscaped') || undefined,
  };
}

function parseHealthCheck(check: Fields): HealthCheck {
  return {
    test: check.strings('Test'),
    interval: check.count('Interval'),
    timeout: check.count('Timeout'),
    startPeriod: check.count('StartPeriod'),
    startInterval: check.count('StartInterval'),
    retries: check.count('Retries'),
  };
}

/** Typed reads of one JSON object; `null` counts as absent. */
class Fields {
  readonly raw: Json;
  readonly #path: string;
  readonly #fail: Fail;

  constructor(raw: Json, path: string, fail: Fail) {
    this.raw = raw;
    this.#path = path;
    this.#fail = fail;
  }

  has(key: string): boolean {
    return this.#get(key) !== undefined;
  }

  text(key: string): string {
    const value = this.#get(key) ?? '';
    if (typeof value !== 'string') throw this.#wrong(key, 'a string');
    return this.#clean(key, value);
  }

  /** A string that becomes part of a generated file or a path: one line. */
  line(key: string): string {
    const value = this.text(key);
    if (/[\r\n]/.test(value)) throw this.#wrong(key, 'one line');
    return value;
  }

  word(key: string): string {
    const value = this.text(key);
    if (!/^[\w.-]{0,64}$/.test(value)) throw this.#wrong(key, 'a short word');
    return value;
  }

  time(key: string): string {
    const value = this.text(key);
    if (value !== '' && !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(value))
      throw this.#wrong(key, 'a time (RFC 3339)');
    return value;
  }

  flag(key: string): boolean {
    const value = this.#get(key) ?? false;
    if (typeof value !== 'boolean') throw this.#wrong(key, 'true or false');
    return value;
  }

  count(key: string): number | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
      throw this.#wrong(key, 'a whole number');
    return value;
  }

  strings(key: string): string[] {
    return this.optionalStrings(key) ?? [];
  }

  optionalStrings(key: string): string[] | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length > maxItems)
      throw this.#wrong(key, `a list of strings, at most ${maxItems}`);
    return value.map((item: unknown) => {
      if (typeof item !== 'string') throw this.#wrong(key, 'a list of strings');
      return this.#clean(key, item);
    });
  }

  stringMap(key: string): Record<string, string> {
    const entries = this.#entries(key).map(([name, value]): [string, string] => {
      if (typeof value !== 'string') throw this.#wrong(key, 'a map of strings');
      return [this.#clean(key, name), this.#clean(key, value)];
    });
    // fromEntries defines own properties, so a label named `__proto__` stays a label.
    return Object.fromEntries(entries);
  }

  /** The keys of a Go set (`map[string]struct{}`). */
  keys(key: string): string[] {
    return this.#entries(key).map(([name]) => this.#clean(key, name));
  }

  object(key: string): Fields {
    return new Fields(this.#map(key), `${this.#path}${key}.`, this.#fail);
  }

  objects(key: string): Fields[] {
    const value = this.#get(key) ?? [];
    if (!Array.isArray(value) || value.length > maxItems)
      throw this.#wrong(key, `a list of objects, at most ${maxItems}`);
    return value.map((item: unknown) => {
      if (!isObject(item)) throw this.#wrong(key, 'a list of objects');
      return new Fields(item, `${this.#path}${key}.`, this.#fail);
    });
  }

  #entries(key: string): [string, unknown][] {
    const entries = Object.entries(this.#map(key));
    if (entries.length > maxItems) throw this.#wrong(key, `a map of at most ${maxItems} entries`);
    return entries;
  }

  #map(key: string): Json {
    const value = this.#get(key) ?? {};
    if (!isObject(value)) throw this.#wrong(key, 'an object');
    return value;
  }

  #get(key: string): unknown {
    return Object.hasOwn(this.raw, key) ? (this.raw[key] ?? undefined) : undefined;
  }

  #clean(key: string, value: string): string {
    if (value.includes('\0')) throw this.#fail(`${this.#path}${key} holds a NUL`);
    return value;
  }

  #wrong(key: string, wanted: string): Error {
    return this.#fail(`${this.#path}${key} is not ${wanted}`);
  }
}
