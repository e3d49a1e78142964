import { isleError, type IsleError } from '../../lib/errors.ts';

/** The error of an appliance that cannot be used. `where`: the file, and the place in it; both may come from a stranger. */
export function refusal(where: string, why: string, cause?: unknown): IsleError {
  return isleError('invalidAppliance', { where: printable(where), why: printable(why, 600) }, cause);
}

/** A stranger's text as it may be shown: one line, no control characters, not long. */
export function printable(text: string, limit = 200): string {
  const line = text.replace(/[\p{C}\s]+/gu, ' ').trim();
  return line.length > limit ? `${line.slice(0, limit)}…` : line;
}
