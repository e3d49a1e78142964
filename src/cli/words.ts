/** How long ago, roughly, as Docker says it: `5 seconds`, `About a minute`, `3 weeks`. Takes seconds. */
export function humanDuration(seconds: number): string {
  if (seconds < 1) return 'Less than a second';
  if (seconds < 2) return '1 second';
  if (seconds < 60) return `${Math.floor(seconds)} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

/** `humanDuration` since a time in seconds or an ISO string. */
export function ago(time: number | string, now = Date.now()): string {
  const then = typeof time === 'number' ? time * 1000 : Date.parse(time);
  return `${humanDuration(Math.max(0, (now - then) / 1000))} ago`;
}

/** As Docker's `CreatedAt`: `2026-11-20 08:40:00 +0000 UTC`. */
export function localTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const iso = date.toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} +0000 UTC`;
}

export function shortened(id: string, full = false): string {
  const bare = id.replace(/^sha256:/, '');
  return full ? id : bare.slice(0, 12);
}

export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

/** `a=1,b=2` as Docker's list formats show labels. */
export function formatLabels(labels: Record<string, string> | null | undefined): string {
  return Object.entries(labels ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Bytes with four significant digits, where Docker shows sums (`system df`, reclaimed space). */
export function formatSum(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(4))}${units[unit]}`;
}
