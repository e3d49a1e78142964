import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { errnoOf } from '../../lib/errors.ts';

/**
 * At most `limit` bytes of a file in a directory that a monitor can write to: no link is followed, nothing but a plain
 * file is read. Undefined when there is none.
 */
export async function readBounded(path: string, limit: number): Promise<Buffer | undefined> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (!(await file.stat()).isFile()) return undefined;
    const buffer = Buffer.alloc(limit);
    const { bytesRead } = await file.read(buffer, 0, limit, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    if (['ENOENT', 'ELOOP', 'ENXIO', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
