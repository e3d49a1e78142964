import { constants } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants as zlib, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { removeTree } from '../../../host/tree-async.ts';
import { isleError } from '../../../lib/errors.ts';

/**
 * A guest's memory on the disk: eight bytes that say so, then QEMU's migration stream, compressed by zstd with its checksum. QEMU
 * can write to the directory: names are opened as they are, never through a link.
 */
const magic = Buffer.from('ISLEMEM1');

/** Writes it whole or not at all: `path` appears when everything is on the disk. More than `most` bytes of stream are refused. */
export async function writeMemory(path: string, stream: Readable, most: number): Promise<void> {
  const part = `${path}.part`;
  await removeTree(part);
  const file = await open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    await file.write(magic);
    const compress = createZstdCompress({ chunkSize: 256 * 1024, params: quick });
    await pipeline(stream, limit(most), compress, async (compressed: AsyncIterable<Buffer>) => {
      for await (const chunk of compressed) await file.writeFile(chunk);
    });
    await file.sync();
    await rename(part, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await removeTree(part);
    throw error;
  } finally {
    await file.close();
  }
}

/** The stream of {@link writeMemory}. Throws `conflict` for what is no such file; damage shows while it is read. */
export async function readMemory(path: string): Promise<Readable> {
  const file = await openPlain(path);
  try {
    const head = Buffer.alloc(magic.length);
    await file.read(head, 0, head.length, 0);
    if (!head.equals(magic)) throw damaged('it does not begin as such a file does');
    const decompress = createZstdDecompress({ chunkSize: 256 * 1024 });
    const source = file.createReadStream({ start: magic.length });
    // Whoever reads sees the end of either.
    source.on('error', (error) => decompress.destroy(error));
    decompress.on('close', () => source.destroy());
    return source.pipe(decompress);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What cannot be gone on from: the machine can still boot without it. */
export function damaged(why: string, cause?: unknown): Error {
  return isleError(
    'conflict',
    {
      message: `the saved memory cannot be used (${why}): forget it with "isle vm managedsave-remove", and the machine boots at its next start`,
    },
    cause,
  );
}

async function openPlain(path: string): Promise<FileHandle> {
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw damaged('it is no file');
}

function limit(most: number): Transform {
  let sum = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sum += chunk.length;
      if (sum <= most) done(null, chunk);
      else
        done(
          isleError('guestFailed', {
            what: 'save its memory',
            detail: `QEMU sent more than ${most} bytes, which no sound one does`,
          }),
        );
    },
  });
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
const quick = { [zlib.ZSTD_c_compressionLevel]: 1, [zlib.ZSTD_c_checksumFlag]: 1 };
