import { errnoOf, isleError, originalOf } from '../lib/errors.ts';
import type { EngineContext } from './context.ts';

/** A system error about a full disk becomes one that says which disk and what to do; any other is given back as it is. */
export function explainFull(
  { dataRoot }: Pick<EngineContext, 'dataRoot'>,
  error: unknown,
  what: string,
): unknown {
  const code = errnoOf(originalOf(error));
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? isleError('diskFull', { path: dataRoot, what }, error)
    : error;
}
