import { constants } from 'node:os';
import { isleError } from '../../../lib/errors.ts';
import { fieldOf, numberOf, type Fields } from './fields.ts';

/** The longest of a guest's words that reach a message. */
const maxWord = 300;

/** The error that a guest's `failed` means. `what` is the request it answers. */
export function failureOf(what: string, fields: Fields): Error {
  const step = word(fields, 'what') || what;
  const detail = word(fields, 'detail');
  const errno = numberOf(fields, 'errno');
  if (step === 'execute' && (errno === constants.errno.ENOENT || errno === constants.errno.ENOTDIR))
    return isleError('commandNotFound', { command: detail });
  if (step === 'execute' && errno === constants.errno.EACCES)
    return isleError('commandNotExecutable', { command: detail });
  const reason = [detail, errnoName(errno)].filter((part) => part !== '').join(': ');
  return isleError('guestFailed', { what: step, detail: reason || 'it did not say why' });
}

function word(fields: Fields, name: string): string {
  // Control characters would reach a terminal.
  return (fieldOf(fields, name) ?? '').slice(0, maxWord).replace(/\p{Cc}/gu, '?');
}

function errnoName(errno: number): string {
  if (errno === 0) return '';
  return Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
}
