import type { FileHandle } from 'node:fs/promises';
import { openFileIn } from '../../host/paths.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';

/** Bytes of /etc/passwd or /etc/group that are believed; what real systems have is a thousandth. */
const maxFile = 4 * 1024 * 1024;

/**
 * Reads a text file of a container's root as the container would see it: links never leave the root. Undefined
 * when there is none. A device or a FIFO is refused unopened, an oversized file unread.
 */
export async function readRootFile(root: string, path: string): Promise<string | undefined> {
  let file: FileHandle | undefined;
  try {
    file = await openFileIn(root, path);
  } catch (error) {
    if (absent.has(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  if (file === undefined) throw refused(path, 'is not a regular file');
  await using _ = file;
  const { size } = await file.stat();
  if (size > maxFile) throw refused(path, `is larger than ${maxFile} bytes`);
  const buffer = Buffer.alloc(size);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  return buffer.toString('utf8', 0, bytesRead);
}

const absent = new Set(['ENOENT', 'ENOTDIR', 'ELOOP']);

function refused(path: string, why: string) {
  return isleError('invalidParameter', { message: `${path} of the container ${why}` });
}
