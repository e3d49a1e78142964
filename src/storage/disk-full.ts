import { errnoOf, isleError } from '../lib/errors.ts';

/** A full disk (or quota) as an error that names the disk by `path` and says what was under way; other errors pass. */
export function explainFull(error: unknown, path: string, what: string): unknown {
  const code = errnoOf(error);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return isleError('diskFull', { path, what }, error);
}
