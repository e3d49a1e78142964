import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { BlobFiles } from './blob-files.ts';

export async function readVerified(files: BlobFiles, digest: string): Promise<Buffer> {
  const content = await readFile(files.pathOf(digest)).catch((error: unknown) => lost(files, digest, error));
  const actual = createHash('sha256').update(content).digest('hex');
  if (actual !== digest.slice(7))
    throw await files.setAside(digest, `its content has the digest sha256:${actual}`);
  return content;
}

export function verifyingStream(files: BlobFiles, digest: string): Readable {
  return Readable.from(verifiedPieces(files, digest), { objectMode: false, highWaterMark: 1 << 20 });
}

export async function verifyBlob(files: BlobFiles, digest: string): Promise<boolean> {
  try {
    for await (const piece of verifiedPieces(files, digest)) void piece;
    return true;
  } catch (error) {
    if (files.records.get(digest) === undefined) return false;
    throw error;
  }
}

/** The last piece is held back until the digest is known to be right: no reader gets a damaged blob to its end. */
async function* verifiedPieces(files: BlobFiles, digest: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let held: Buffer | undefined;
  try {
    for await (const piece of createReadStream(files.pathOf(digest), { highWaterMark: 1 << 18 })) {
      hash.update(piece as Buffer);
      if (held) yield held;
      held = piece as Buffer;
    }
  } catch (error) {
    await lost(files, digest, error);
  }
  const actual = hash.digest('hex');
  if (actual !== digest.slice(7))
    throw await files.setAside(digest, `its content has the digest sha256:${actual}`);
  if (held) yield held;
}

/** A file that is gone or cannot be read any more. */
async function lost(files: BlobFiles, digest: string, error: unknown): Promise<never> {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'EIO')
    throw await files.setAside(digest, `reading it failed with ${code}`);
  throw error;
}
