import { open, type FileHandle } from 'node:fs/promises';
import { errnoOf } from '../../lib/errors.ts';
import type { BlobSource } from '../content-store.ts';

const pieceSize = 1 << 18;
const reportEvery = 1 << 20;

/** The blob's bytes in order, waiting for those that are still on their way. `onProgress` gets the bytes read so far. */
export async function* blobPieces(
  source: BlobSource,
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  await using file = await openSource(source);
  let reported = 0;
  for (let at = 0; at < source.size; ) {
    const here = await available(source, at, signal);
    const piece = await readAt(file, at, Math.min(pieceSize, here - at));
    if (piece.length === 0)
      throw new Error(`the blob ${source.path} is shorter than the ${source.size} bytes it should have`);
    at += piece.length;
    if (at - reported >= reportEvery || at === source.size) onProgress((reported = at));
    yield piece;
  }
}

async function openSource(source: BlobSource): Promise<FileHandle> {
  try {
    return await open(source.path, 'r');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' || source.finalPath === undefined) throw error;
    return open(source.finalPath, 'r');
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

async function available(source: BlobSource, at: number, signal: AbortSignal): Promise<number> {
  if (source.written === undefined) return source.size;
  const counter = new BigInt64Array(source.written);
  const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  for (;;) {
    const written = Atomics.load(counter, 0);
    if (written < BigInt(at)) throw new Error('the download of the layer was given up');
    if (written > BigInt(at)) return Number(written);
    await Promise.race([Atomics.waitAsync(counter, 0, written).value, aborted]);
    signal.throwIfAborted();
  }
}
