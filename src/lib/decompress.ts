import type { Transform } from 'node:stream';
import zlib from 'node:zlib';
import { programs, undoneByProgram } from './decompress-program.ts';
import { TarError } from './tar/entry.ts';

export type Compression = 'gzip' | 'zstd' | 'xz' | 'bzip2' | 'none';

/** Large pieces: each costs a trip to the thread pool and back. */
const chunkSize = 1 << 20;

/** What the first bytes ({@link headSize} or more, when there are so many) of a stream say. Throws for formats that Isle does not read. */
export function detectCompression(head: Buffer): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return 'zstd';
  // A skippable frame may lead a zstd stream.
  if (head.length >= 4 && (head.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50) return 'zstd';
  if (head.subarray(0, xzMagic.length).equals(xzMagic)) return 'xz';
  // `BZh`, the size of its blocks, then that of a block or of the end.
  if (/^425a683[1-9](314159|177245)/.test(head.toString('hex', 0, 7))) return 'bzip2';
  if (head.subarray(0, lz4Magic.length).equals(lz4Magic))
    throw new TarError(
      'it is compressed with lz4, which is not supported: use gzip, bzip2, xz, zstd or none',
    );
  return 'none';
}

/** Bytes that tell a compression. */
export const headSize = 8;

const xzMagic = Buffer.from('fd377a585a00', 'hex');
const lz4Magic = Buffer.from('04224d18', 'hex');

/** A stream that undoes `compression`, or undefined when there is nothing to undo here. */
function decompressor(compression: Compression): Transform | undefined {
  if (compression === 'gzip') return zlib.createGunzip({ chunkSize });
  if (compression === 'zstd') return zlib.createZstdDecompress({ chunkSize });
  return undefined;
}

/** The plain bytes of `source`, whatever of these it is; what Node cannot undo, a program of the host does. `source` is let go of however the iteration ends. */
export async function* decompressed(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const pieces = source[Symbol.asyncIterator]();
  try {
    const first = await headOf(pieces);
    const compression = detectCompression(first);
    const undo = decompressor(compression);
    const rest = join(first, pieces);
    if (compression === 'xz' || compression === 'bzip2') yield* undoneByProgram(rest, programs[compression]);
    else if (undo === undefined) yield* rest;
    else yield* undone(rest, undo);
  } finally {
    // Not waited for: a source that waits for bytes still to come would hold up the error that ended this.
    pieces.return?.().catch(() => undefined);
  }
}

/** At least {@link headSize} bytes, when there are so many. */
async function headOf(pieces: AsyncIterator<Buffer>): Promise<Buffer> {
  let first: Buffer = Buffer.alloc(0);
  while (first.length < headSize) {
    const next = await pieces.next();
    if (next.done) break;
    first = first.length === 0 ? next.value : Buffer.concat([first, next.value]);
  }
  return first;
}

async function* join(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

async function* undone(source: AsyncGenerator<Buffer>, undo: Transform): AsyncGenerator<Buffer> {
  const feeding = feed(source, undo);
  // It fails with what `undo` fails with, too.
  feeding.catch(() => undefined);
  try {
    yield* undo as AsyncIterable<Buffer>;
    await feeding;
  } catch (error) {
    throw explain(error);
  } finally {
    undo.destroy();
  }
}

async function feed(source: AsyncIterable<Buffer>, into: Transform): Promise<void> {
  try {
    for await (const piece of source) {
      if (into.destroyed) return;
      if (!into.write(piece)) await drained(into);
    }
    into.end();
  } catch (error) {
    into.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

function drained(stream: Transform): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}

/** zlib's own words say nothing to a user. */
function explain(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (!/^(Z_|ZSTD_|ERR_ZLIB|ERR_BUFFER_TOO)/.test(code)) return error;
  const message = (error as Error).message;
  return new TarError(`its compressed data is damaged (${message})`, { cause: error });
}
