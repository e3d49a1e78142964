import { constants } from 'node:os';
import { isleError } from '../../lib/errors.ts';

/** Linux's real-time signals as container tools number them (glibc keeps 32 and 33 for itself). */
const realTimeMin = 34;
const realTimeMax = 64;

/**
 * The number of a signal given as `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3` or `RTMAX-1`. Throws
 * `invalidParameter`.
 */
export function parseSignal(text: string): number {
  const name = text.trim().toUpperCase().replace(/^SIG/, '');
  const number = /^\d+$/.test(name) ? Number(name) : named(name);
  if (number === undefined || number < 1 || number > realTimeMax)
    throw isleError('invalidParameter', { message: `Invalid signal: ${text.slice(0, 100)}` });
  return number;
}

function named(name: string): number | undefined {
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime) {
    const base = realTime[1] === 'MIN' ? realTimeMin : realTimeMax;
    const offset = Number(realTime[3] ?? 0) * (realTime[2] === '-' ? -1 : 1);
    const number = base + offset;
    return number >= realTimeMin && number <= realTimeMax ? number : undefined;
  }
  const signals: Record<string, number> = constants.signals;
  return Object.hasOwn(signals, `SIG${name}`) ? signals[`SIG${name}`] : undefined;
}
