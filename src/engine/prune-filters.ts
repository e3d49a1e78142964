import { isleError } from '../lib/errors.ts';
import { parseDuration } from '../lib/units.ts';
import type { EngineContext } from './context.ts';
import { nowNanoseconds, toNanoseconds } from './time.ts';

export interface PruneFilters {
  all: boolean;
  matches(labels: Record<string, string>, createdAt: string): boolean;
}

/** The filters of the prune calls. Throws `invalidParameter` for one that is not in `known`. */
export function parsePruneFilters(filters: Record<string, string[]>, known: string[]): PruneFilters {
  const unknown = Object.keys(filters).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw isleError('invalidParameter', {
      message: `invalid filter '${unknown}' (there are: ${known.join(', ')})`,
    });
  const until = untilOf(filters.until);
  return {
    all: flagOf(filters.all),
    matches: (labels, createdAt) =>
      (filters.label ?? []).every((wanted) => hasLabel(labels, wanted)) &&
      !(filters['label!'] ?? []).some((unwanted) => hasLabel(labels, unwanted)) &&
      (until === undefined || toNanoseconds(createdAt) < until),
  };
}

function flagOf(values: string[] = []): boolean {
  if (values.length === 0) return false;
  if (values.length === 1 && ['1', 'true', 't', 'True', 'TRUE', 'T'].includes(values[0]!)) return true;
  if (values.length === 1 && ['0', 'false', 'f', 'False', 'FALSE', 'F'].includes(values[0]!)) return false;
  throw isleError('invalidParameter', { message: `invalid filter 'all=[${values.join(' ')}]'` });
}

/** A time (RFC 3339, a date, seconds since 1970) or a Go duration before now: nanoseconds since 1970. */
function untilOf(values: string[] = []): bigint | undefined {
  if (values.length === 0) return undefined;
  if (values.length > 1)
    throw isleError('invalidParameter', { message: 'more than one until filter specified' });
  const text = values[0]!;
  if (/^\d+(\.\d{1,9})?$/.test(text)) {
    const [seconds, fraction = ''] = text.split('.');
    return BigInt(seconds!) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
  }
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(Date.parse(text)))
    return text.includes('T') ? toNanoseconds(text) : BigInt(Date.parse(text)) * 1_000_000n;
  return nowNanoseconds() - BigInt(parseDuration(text));
}

function hasLabel(labels: Record<string, string>, wanted: string): boolean {
  const at = wanted.indexOf('=');
  const key = at < 0 ? wanted : wanted.slice(0, at);
  return Object.hasOwn(labels, key) && (at < 0 || labels[key] === wanted.slice(at + 1));
}

/** Throws `conflict` while another prune of the same kind works. */
export async function exclusively<T>(
  { pruning }: Pick<EngineContext, 'pruning'>,
  kind: string,
  prune: () => Promise<T>,
): Promise<T> {
  if (pruning.has(kind)) throw isleError('conflict', { message: 'a prune operation is already running' });
  pruning.add(kind);
  try {
    return await prune();
  } finally {
    pruning.delete(kind);
  }
}
