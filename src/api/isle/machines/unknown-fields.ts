import { isleError } from '../../../lib/errors.ts';
import { didYouMean } from '../../../lib/suggest.ts';
import type { Fields } from '../../http/fields.ts';

/** A field that is misspelled would be hardware that is missing. Throws `invalidParameter`. */
export function refuseUnknown(fields: Fields, known: readonly string[]): void {
  const lower = new Set(known.map((name) => name.toLowerCase()));
  const wrong = fields.names().find((name) => !lower.has(name));
  if (wrong === undefined) return;
  const shown = JSON.stringify(wrong.slice(0, 100)).slice(1, -1);
  const path = fields.path === '' ? shown : `${fields.path}.${shown}`;
  throw isleError('invalidParameter', {
    message: `unknown field ${path}${didYouMean(shown, known)} (there are: ${known.join(', ')})`,
  });
}
