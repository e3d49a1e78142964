import { isIsleError, isleError } from '../../lib/errors.ts';
import { familiarName, familiarRepository, type Reference } from '../reference.ts';
import { answerError, UnexpectedAnswer } from './answers.ts';
import { unreachable } from './connections.ts';

/** What a failed pull of `ref` is for the user, in Docker's words where it has some. */
export function pullError(ref: Reference, error: unknown): unknown {
  if (isUnauthorized(error)) return denied('pullDenied', ref, error);
  if (!(error instanceof UnexpectedAnswer)) return unreachable(ref.domain, error);
  if (error.status === 404 && !/name unknown/.test(error.words))
    return isleError(
      'manifestUnknown',
      { ref: familiarName(ref), reason: error.words || 'status 404' },
      error,
    );
  return error.status === 404 ? denied('pullDenied', ref, error) : answerError(ref.domain, error);
}

/** What a failed push is for the user. */
export function pushError(ref: Reference, error: unknown): unknown {
  if (isUnauthorized(error)) return denied('pushDenied', ref, error);
  if (!(error instanceof UnexpectedAnswer)) return unreachable(ref.domain, error);
  return answerError(ref.domain, error);
}

/** At a pull or push a 401 of our own would make the docker client ask for a password on its standard input. */
function isUnauthorized(error: unknown): error is Error {
  if (error instanceof UnexpectedAnswer) return error.status === 401 || error.status === 403;
  return isIsleError(error, 'registryUnauthorized');
}

function denied(code: 'pullDenied' | 'pushDenied', ref: Reference, error: Error): Error {
  const words = error instanceof UnexpectedAnswer ? error.words : error.message;
  // An answer to a HEAD has no words of its own.
  const reason = words || 'requested access to the resource is denied';
  return isleError(code, { repository: familiarRepository(ref), reason }, error);
}
