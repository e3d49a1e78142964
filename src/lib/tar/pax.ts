import { TarError, type TarTime } from './entry.ts';

/** The records of a PAX header in order. Keys and values are byte strings. */
export function parsePax(content: Buffer): [key: string, value: string][] {
  const records: [string, string][] = [];
  let at = 0;
  while (at < content.length) {
    // Some writers pad with NULs.
    if (content[at] === 0) {
      at++;
      continue;
    }
    const space = content.indexOf(0x20, at);
    const digits = space < 0 ? '' : content.toString('latin1', at, Math.min(space, at + 10));
    const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    const equals = content.indexOf(0x3d, space);
    if (end <= space || end > content.length || equals < 0 || equals >= end || content[end - 1] !== 0x0a) {
      throw new TarError('a PAX record is malformed');
    }
    records.push([
      content.toString('latin1', space + 1, equals),
      content.toString('latin1', equals + 1, end - 1),
    ]);
    at = end;
  }
  return records;
}

export function formatPax(records: Iterable<readonly [key: string, value: string | Buffer]>): Buffer {
  const parts: Buffer[] = [];
  for (const [key, value] of records) {
    const rest = Buffer.concat([
      Buffer.from(` ${key}=`, 'latin1'),
      typeof value === 'string' ? Buffer.from(value, 'latin1') : value,
      Buffer.from('\n'),
    ]);
    // The length counts its own digits.
    let length = rest.length + String(rest.length).length;
    if (String(length).length + rest.length > length) length++;
    parts.push(Buffer.from(String(length)), rest);
  }
  return Buffer.concat(parts);
}

/** `1234567890.123456789`, also negative. */
export function parsePaxTime(text: string): TarTime {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (!match) throw new TarError('a time in a PAX record is malformed');
  const nanoseconds = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  const seconds = Number(match[2]);
  if (!match[1]) return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds: 0 }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds };
}

export function formatPaxTime(time: TarTime): string {
  const { seconds, nanoseconds } = time;
  if (nanoseconds === 0) return String(seconds);
  if (seconds >= 0) return `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
  const whole = -seconds - 1;
  return `-${whole}.${String(1e9 - nanoseconds).padStart(9, '0')}`;
}
