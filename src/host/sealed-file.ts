import { nativeCalls } from './native.ts';

const calls = nativeCalls<{ sealedCopy(path: string): Promise<number> }>()('sealedCopy');

/**
 * Copies a file into memory and seals it against every change, for good. Returns its descriptor, which closes on
 * exec; the caller closes it.
 */
export function sealedCopy(path: string): Promise<number> {
  return calls.sealedCopy(path);
}
