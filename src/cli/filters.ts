import { Failure } from './failure.ts';
import { each } from './flags.ts';

type Filter = readonly [key: string, value: string];

/** `--filter key=value`, several times: other keys narrow, the same key widens. */
export const filterFlag = each<Filter>('Only those where key=value', parseFilter, {
  short: 'f',
  value: 'filter',
});

/** The same without the short form, where `-f` is `--force`. */
export const longFilterFlag = each<Filter>('Only those where key=value', parseFilter, { value: 'filter' });

function parseFilter(given: string): Filter {
  const at = given.indexOf('=');
  if (at <= 0) throw new Failure('invalid filter: it must be key=value');
  return [given.slice(0, at).trim().toLowerCase(), given.slice(at + 1).trim()];
}

/** The API's `filters` parameter; undefined when there is none. */
export function encodeFilters(given: readonly Filter[]): string | undefined {
  if (given.length === 0) return undefined;
  const filters: Record<string, string[]> = {};
  for (const [key, value] of given) (filters[key] ??= []).push(value);
  return JSON.stringify(filters);
}
