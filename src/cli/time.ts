import { parseDuration } from '../lib/units.ts';
import { Failure } from './failure.ts';

/**
 * A time as the API takes it, `seconds.nanoseconds` since 1970: from such a number, RFC 3339 (a date alone or
 * without a zone is local time), or a Go duration meaning that long ago.
 */
export function toTimestamp(given: string, now = Date.now()): string {
  if (/^\d+(\.\d{1,9})?$/.test(given)) return given;
  if (/^\d{4}-\d{2}-\d{2}/.test(given)) {
    const [, head = '', fraction = '', zone = ''] =
      /^(\d{4}-\d{2}-\d{2}(?:T\d{2}(?::\d{2}(?::\d{2})?)?)?)(?:\.(\d{1,9}))?(Z|[+-]\d{2}:?\d{2})?$/.exec(
        given,
      ) ?? [];
    const full = /T\d{2}$/.test(head) ? `${head}:00` : head.includes('T') ? head : `${head}T00:00:00`;
    const milliseconds = Date.parse(`${full}${zone}`);
    if (head === '' || Number.isNaN(milliseconds)) throw invalid(given);
    return `${Math.floor(milliseconds / 1000)}.${fraction.padEnd(9, '0')}`;
  }
  let nanoseconds: number;
  try {
    nanoseconds = parseDuration(given);
  } catch (cause) {
    throw invalid(given, cause);
  }
  const at = now - nanoseconds / 1e6;
  return (at / 1000).toFixed(9);
}

function invalid(given: string, cause?: unknown): Failure {
  return new Failure(`invalid time "${given}"`, {
    exitCode: 125,
    hint: 'for example 42m, 2026-01-02T15:04:05Z, or seconds since 1970',
    cause,
  });
}
