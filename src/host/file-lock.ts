import { nativeCalls } from './native.ts';
import { errnoOf } from '../lib/errors.ts';

const calls = nativeCalls<{ flockSync(fd: number, operation: number): void }>()('flockSync');

const EXCLUSIVE = 2;
const NONBLOCKING = 4;

/** Takes an exclusive lock on an open file for as long as the descriptor lives; false when another holds it. */
export function tryLock(fd: number): boolean {
  try {
    calls.flockSync(fd, EXCLUSIVE | NONBLOCKING);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return false;
    throw error;
  }
}
