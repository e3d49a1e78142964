/** One line of a log in the format of Kubernetes: `TIME STREAM P|F DATA`. */
export interface RawEntry {
  /** As {@link normalTime}. */
  time: string;
  stream: 'stdout' | 'stderr';
  /** P: the line goes on in the next entry of its stream. */
  partial: boolean;
  data: Buffer;
}

const space = 0x20;

/** Parses one line (without its newline). Undefined for anything that is none: a line cut by a crash, say. */
export function parseEntry(line: Buffer): RawEntry | undefined {
  const first = line.indexOf(space);
  const second = line.indexOf(space, first + 1);
  if (first < 20 || second < 0 || line[second + 2] !== space) return undefined;
  const stream = line.toString('latin1', first + 1, second);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const tag = line.toString('latin1', second + 1, second + 2);
  if (tag !== 'P' && tag !== 'F') return undefined;
  const time = normalTime(line.toString('latin1', 0, first));
  if (time === undefined) return undefined;
  return { time, stream, partial: tag === 'P', data: line.subarray(second + 3) };
}

/** RFC 3339 in UTC with nine digits: such times compare as text. Undefined when it is no time. */
export function normalTime(text: string): string | undefined {
  // What conmon writes, where the zone is UTC.
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00$/.test(text)) return `${text.slice(0, 29)}Z`;
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)$/.exec(text);
  if (!match) return undefined;
  const [, whole = '', fraction = '', zone = ''] = match;
  const digits = fraction.padEnd(9, '0');
  if (zone === 'Z' || /^[+-]00:?00$/.test(zone)) return `${whole}.${digits}Z`;
  const moved = new Date(`${whole}${zone}`);
  if (Number.isNaN(moved.getTime())) return undefined;
  return `${moved.toISOString().slice(0, 19)}.${digits}Z`;
}
