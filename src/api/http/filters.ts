import { isleError } from '../../lib/errors.ts';
import type { Query } from './query.ts';

export type Filters = Record<string, string[]>;

/**
 * The `filters` of a list, prune or events request. Clients send `{"label":{"a=b":true}}`, or `{"label":["a=b"]}`;
 * `known` are the keys this request has. Throws `invalidParameter` for any other.
 */
export function parseFilters(query: Query, known: readonly string[]): Filters {
  const text = query.text('filters');
  if (text === '') return {};
  const entries: [string, string[]][] = [];
  for (const [key, value] of Object.entries(parseObject(text))) {
    if (!known.includes(key))
      throw isleError('invalidParameter', {
        message: `invalid filter '${key}': this request knows ${known.join(', ')}`,
      });
    entries.push([key, parseValues(key, value)]);
  }
  return Object.fromEntries(entries.filter(([, values]) => values.length > 0));
}

function parseObject(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw isleError('invalidParameter', { message: 'invalid filters: not JSON' }, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw isleError('invalidParameter', { message: 'invalid filters: expected an object of lists' });
  return value;
}

function parseValues(key: string, value: unknown): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value)
      .filter(([, on]) => on === true)
      .map(([name]) => name);
  }
  throw isleError('invalidParameter', { message: `invalid filter '${key}': expected a list of texts` });
}

/** One filter that is a truth value (`dangling=true`). Throws `invalidParameter`. */
export function filterFlag(filters: Filters, key: string): boolean | undefined {
  const values = filters[key];
  if (!values) return undefined;
  const flags = values.map((value) => {
    if (['1', 'true', 't', 'True', 'TRUE', 'T'].includes(value)) return true;
    if (['0', 'false', 'f', 'False', 'FALSE', 'F'].includes(value)) return false;
    throw isleError('invalidParameter', {
      message: `invalid filter '${key}=${value}': expected true or false`,
    });
  });
  if (new Set(flags).size > 1)
    throw isleError('invalidParameter', { message: `invalid filter '${key}': both true and false` });
  return flags[0];
}

/** Every `label` filter (`key` or `key=value`) holds, and no `label!` one does. */
export function matchLabels(filters: Filters, labels: Record<string, string>): boolean {
  const has = (wanted: string): boolean => {
    const at = wanted.indexOf('=');
    if (at < 0) return Object.hasOwn(labels, wanted);
    const key = wanted.slice(0, at);
    return Object.hasOwn(labels, key) && labels[key] === wanted.slice(at + 1);
  };
  return (filters.label ?? []).every(has) && !(filters['label!'] ?? []).some(has);
}

/** One of the values is contained in one of the texts, or matches it as a regular expression when it is a safe one. */
export function matchText(values: string[] | undefined, ...texts: string[]): boolean {
  if (!values) return true;
  return values.some((value) => texts.some((text) => matches(value, text)));
}

export function matchExact(values: string[] | undefined, ...texts: string[]): boolean {
  return !values || values.some((value) => texts.includes(value));
}

/**
 * Docker matches names by Go's regular expressions, which take linear time; JavaScript's do not. Anchors and
 * plain text are what people write; anything with repetition is limited to `.*`, so that a filter cannot
 * occupy the daemon.
 */
function matches(pattern: string, text: string): boolean {
  if (text.includes(pattern)) return true;
  if (!/[\^$.*|]/.test(pattern) || pattern.length > 256) return false;
  return pattern.split('|').some((part) => matchPart(part, text));
}

function matchPart(pattern: string, text: string): boolean {
  const start = pattern.startsWith('^');
  const end = pattern.endsWith('$') && !pattern.endsWith('\\$');
  const body = pattern.slice(start ? 1 : 0, end ? -1 : undefined);
  const pieces = body.split('.*');
  let at = 0;
  for (const [index, piece] of pieces.entries()) {
    const last = index === pieces.length - 1;
    const found = last && end ? text.length - width(piece) : indexOfPiece(text, piece, at);
    if (found < at || !pieceAt(text, piece, found)) return false;
    if (index === 0 && start && found !== 0) return false;
    at = found + width(piece);
  }
  return true;
}

function width(piece: string): number {
  return piece.replace(/\\(.)/g, '$1').length;
}

function pieceAt(text: string, piece: string, at: number): boolean {
  if (at < 0) return false;
  let position = at;
  for (let index = 0; index < piece.length; index++, position++) {
    const wild = piece[index] === '.';
    if (piece[index] === '\\') index++;
    if (position >= text.length || (!wild && text[position] !== piece[index])) return false;
  }
  return true;
}

function indexOfPiece(text: string, piece: string, from: number): number {
  for (let at = from; at <= text.length - width(piece); at++) if (pieceAt(text, piece, at)) return at;
  return -1;
}
