/** Milliseconds (25 days): a timer that is given more fires at once. */
export const longestTimer = 0x7fff_ffff;

/** Now as ISO 8601 with the nine digits Docker's clients expect (the clock has microseconds). */
export function now(): string {
  return fromNanoseconds(nowNanoseconds());
}

const start = BigInt(Math.round(performance.timeOrigin * 1e3)) * 1000n;
let lastWall = 0n;

/** Nanoseconds since 1970. Never the same twice in one process, so that it can order what happened. */
export function nowNanoseconds(): bigint {
  // performance.now() does not follow the wall clock when that is set: take the milliseconds from Date.
  const wall = BigInt(Date.now()) * 1_000_000n;
  const fine = start + BigInt(Math.round(performance.now() * 1e3)) * 1000n;
  const drift = wall - fine;
  const best = drift > 1_000_000n || drift < -1_000_000n ? wall : fine;
  lastWall = best > lastWall || lastWall - best > 1_000_000_000n ? best : lastWall + 1n;
  return lastWall;
}

export function fromNanoseconds(time: bigint): string {
  const seconds = new Date(Number(time / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(time % 1_000_000_000n).padStart(9, '0')}Z`;
}

/** Nanoseconds since 1970 of an ISO 8601 time with up to nine digits after the second. */
export function toNanoseconds(iso: string): bigint {
  const match = /^(.*?T\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)?$/.exec(iso);
  if (!match) return BigInt(Date.parse(iso) || 0) * 1_000_000n;
  const seconds = Date.parse(`${match[1]}${match[3] ?? 'Z'}`);
  return BigInt(seconds) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
}
