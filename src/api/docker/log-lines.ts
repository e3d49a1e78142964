import type { LogEntry, LogOptions } from '../../engine/engine.ts';
import type { Container } from '../../engine/model.ts';
import { isleError } from '../../lib/errors.ts';
import type { Query } from '../http/query.ts';
import { padTime, parseTimestamp } from './timestamps.ts';

export interface LogQuery {
  options: LogOptions;
  timestamps: boolean;
  details: boolean;
}

/** The query of `logs`. Throws `invalidParameter`. */
export function parseLogQuery(query: Query): LogQuery {
  const stdout = query.flag('stdout');
  const stderr = query.flag('stderr');
  if (!stdout && !stderr)
    throw isleError('invalidParameter', { message: 'Bad parameters: you must choose at least one stream' });
  return {
    options: {
      stdout,
      stderr,
      since: parseTimestamp(query.text('since'), 'since'),
      until: parseTimestamp(query.text('until'), 'until'),
      tail: parseTail(query.text('tail')),
      follow: query.flag('follow'),
    },
    timestamps: query.flag('timestamps'),
    details: query.flag('details'),
  };
}

/** As Docker: what is no number means all. */
function parseTail(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** What goes before each line. Pieces of one long line get it once. */
export function renderLog(
  container: Container,
  options: { timestamps: boolean; details: boolean },
): (entry: LogEntry) => Buffer {
  const details = options.details ? `${logDetails(container)} ` : '';
  const within = { stdout: false, stderr: false };
  return (entry) => {
    const prefix = within[entry.stream]
      ? ''
      : `${options.timestamps ? `${padTime(entry.time)} ` : ''}${details}`;
    within[entry.stream] = entry.data.at(-1) !== 10;
    return prefix === '' ? entry.data : Buffer.concat([Buffer.from(prefix), entry.data]);
  };
}

/** `--details`: the labels and variables that the log options name. */
function logDetails({ spec, labels }: Container): string {
  const named = (option: string): string[] =>
    (spec.logConfig.options[option] ?? '').split(',').filter(Boolean);
  const env = new Map(spec.env.map((entry) => [entry.split('=', 1)[0], entry.slice(entry.indexOf('=') + 1)]));
  const pairs = [
    ...named('labels').map((name) => [name, labels[name]] as const),
    ...named('env').map((name) => [name, env.get(name)] as const),
  ];
  return pairs
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value ?? '')}`)
    .sort()
    .join(',');
}
