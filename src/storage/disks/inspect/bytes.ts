import type { FileHandle } from 'node:fs/promises';
import { isleError } from '../../../lib/errors.ts';

/** At most `length` bytes of the file from `position` on: fewer at its end. */
export async function bytesAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** Of an image from outside that is not taken in. */
export function refused(why: string): Error {
  return isleError('invalidDisk', { why });
}

/** Reading on would give zeros instead of what is missing. */
export function cutOff(needed: number, length: number): Error {
  return refused(`it was cut off: it has ${length} bytes, but its data need ${needed}`);
}

/** A 64-bit number of a header, as one that can be counted with. */
export function sizeOf(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw refused(`its ${what} is absurd (${value})`);
  return Number(value);
}
