import { isleError } from '../../../lib/errors.ts';
import type { Fields } from './fields.ts';

export interface GuestProcessTable {
  titles: string[];
  /** Process ids are those of the workload's pid namespace; users are numbers. */
  processes: string[][];
}

const titles = ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'];

/** Rows have their columns separated by tabs; the last one may contain some. Throws `guestBroken`. */
export function parseProcesses(fields: Fields): GuestProcessTable {
  const rows = fields.filter(([name]) => name === 'process').map(([, row]) => columnsOf(row));
  return { titles, processes: rows };
}

function columnsOf(row: string): string[] {
  const parts = row.split('\t');
  if (parts.length < titles.length) throw isleError('guestBroken', { why: 'a process has too few columns' });
  const columns = parts.slice(0, titles.length - 1);
  return [...columns, parts.slice(titles.length - 1).join('\t')].map((text) => text.replace(/\p{Cc}/gu, '?'));
}
