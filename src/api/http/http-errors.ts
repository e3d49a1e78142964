import { type Answer, json } from './reply.ts';
import { isIsleError, messageOf, originalOf } from '../../lib/errors.ts';

/** Docker's error JSON for anything thrown. `unexpected` gets what no catalogue entry describes, to log it. */
export function errorAnswer(error: unknown, unexpected: (error: unknown) => void): Answer {
  const first = originalOf(error);
  if (first !== error) {
    unexpected(error);
    return errorAnswer(first, unexpected);
  }
  if (isIsleError(error)) {
    if (error.status >= 500 && error.code === 'internal') unexpected(error);
    return json({ message: error.message }, error.status);
  }
  const status = statusOf(error);
  if (status >= 500) unexpected(error);
  return json({ message: messageOf(error) || 'internal error' }, status);
}

/** Fastify's own errors (a URL that cannot be decoded, …) carry the status of a client's mistake. */
function statusOf(error: unknown): number {
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number') {
    return error.statusCode >= 400 && error.statusCode < 500 ? error.statusCode : 500;
  }
  return 500;
}
