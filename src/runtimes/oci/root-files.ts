import { close, constants, fstat, read } from 'node:fs';
import { promisify } from 'node:util';
import { openIn } from '../../host/paths.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';

/** Bytes of /etc/passwd or /etc/group that are believed; what real systems have is a thousandth. */
const maxFile = 4 * 1024 * 1024;

const [closeFile, statFile, readPart] = [promisify(close), promisify(fstat), promisify(read)];

/**
 * Reads a text file of a container's root as the container would see it: links never leave the root. Undefined
 * when there is none. A device, a FIFO or an oversized file is refused, and never blocks.
 */
export async function readRootFile(root: string, path: string): Promise<string | undefined> {
  let fd: number;
  try {
    fd = await openIn(root, path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (absent.has(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  try {
    const info = await statFile(fd);
    if (!info.isFile()) throw refused(path, 'is not a regular file');
    if (info.size > maxFile) throw refused(path, `is larger than ${maxFile} bytes`);
    const buffer = Buffer.alloc(info.size);
    const { bytesRead } = await readPart(fd, buffer, 0, buffer.length, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await closeFile(fd);
  }
}

const absent = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO']);

function refused(path: string, why: string) {
  return isleError('invalidParameter', { message: `${path} of the container ${why}` });
}
