import { isleError } from '../../lib/errors.ts';

/**
 * A time in a query (`since`, `until`): seconds since 1970 with an optional fraction, or RFC 3339. Nanoseconds since
 * 1970 as a decimal string (it does not fit a double); undefined for '' and 0. Throws `invalidParameter`.
 */
export function parseTimestamp(text: string, name: string): string | undefined {
  if (text === '' || text === '0') return undefined;
  const seconds = /^(-?\d{1,12})(?:\.(\d{1,9})\d*)?$/.exec(text);
  if (seconds) return nanoseconds(BigInt(seconds[1]!), seconds[2]);
  const iso = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)?)?$/.exec(
    text,
  );
  const milliseconds = iso ? Date.parse(`${iso[1]}T${iso[2] ?? '00:00:00'}${iso[4] ?? 'Z'}`) : Number.NaN;
  if (Number.isNaN(milliseconds))
    throw isleError('invalidParameter', {
      message: `invalid ${name}: "${text}" is neither seconds since 1970 nor a time such as 2026-01-02T03:04:05Z`,
    });
  return nanoseconds(BigInt(Math.floor(milliseconds / 1000)), iso?.[3]);
}

function nanoseconds(seconds: bigint, fraction = ''): string {
  return String(seconds * 1_000_000_000n + BigInt(fraction.padEnd(9, '0')));
}

/** RFC 3339 in UTC with all nine digits, as logs carry it. */
export function padTime(time: string): string {
  const match = /^(.{19})(?:\.(\d+))?(?:Z|[+-]00:00)$/.exec(time);
  return match ? `${match[1]}.${(match[2] ?? '').padEnd(9, '0')}Z` : time;
}
