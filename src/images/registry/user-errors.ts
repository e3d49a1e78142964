import { isleError } from '../../lib/errors.ts';
import { familiarName, familiarRepository, type Reference } from '../reference.ts';
import { answerError, UnexpectedAnswer } from './answers.ts';
import { unreachable } from './connections.ts';

/** What a failed pull of `ref` is for the user, in Docker's words where it has some. */
export function pullError(ref: Reference, error: unknown): unknown {
  if (!(error instanceof UnexpectedAnswer)) return unreachable(ref.domain, error);
  const reason = error.words || wordsOf(error.status);
  if (error.status === 404 && !/name unknown/.test(error.words))
    return isleError('manifestUnknown', { ref: familiarName(ref), reason }, error);
  if (
    error.status === 404 ||
    error.status === 403 ||
    (error.status === 401 && /denied|insufficient/.test(error.words))
  )
    return isleError('pullDenied', { repository: familiarRepository(ref), reason }, error);
  return answerError(ref.domain, error);
}

/** What a failed push is for the user. */
export function pushError(ref: Reference, error: unknown): unknown {
  if (!(error instanceof UnexpectedAnswer)) return unreachable(ref.domain, error);
  const reason = error.words || wordsOf(error.status);
  if (error.status === 403 || (error.status === 401 && /denied|insufficient/.test(error.words)))
    return isleError('pushDenied', { repository: familiarRepository(ref), reason }, error);
  return answerError(ref.domain, error);
}

/** An answer to a HEAD has no words of its own. */
function wordsOf(status: number): string {
  return status === 403 || status === 401 ? 'requested access to the resource is denied' : `status ${status}`;
}
