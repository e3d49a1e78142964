import { nativeCalls } from './native.ts';

const calls = nativeCalls<{ pipeSync(): Buffer }>()('pipeSync');

/**
 * A pipe of the kernel's. (The `pipe` of `child_process.spawn` is a socket pair: a child cannot open its
 * /dev/stdout then.) Both descriptors close on exec; the caller closes them.
 */
export function createPipe(): { read: number; write: number } {
  const ends = calls.pipeSync();
  return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) };
}
