import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { openTree, tree } from '../../host/tree.ts';
import { TarExtractor } from '../../host/tar/extract.ts';
import { decompressed } from '../../lib/decompress.ts';
import { TarReader } from '../../lib/tar/reader.ts';
import { serveThread } from '../../lib/threads.ts';
import type { BlobSource } from '../content-store.ts';
import { blobPieces } from './blob-source.ts';

export interface UnpackJob {
  blob: BlobSource;
  target: string;
}

export interface Unpacked {
  /** Digest of the uncompressed layer. */
  diffId: string;
  /** Apparent bytes of its files. */
  size: number;
  /** Directories that the layer has members in, but does not describe, as byte strings. */
  implied: string[];
}

if (parentPort) serveThread<UnpackJob>(parentPort, unpackLayer);

/** Extracts one layer blob under `target`, hashing the plain tar on the way. Progress: compressed bytes read. */
export async function unpackLayer(
  job: UnpackJob,
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Unpacked> {
  const root = openTree(job.target);
  try {
    using extractor = new TarExtractor(root, { whiteouts: true });
    const reader = new TarReader(extractor);
    const hash = createHash('sha256');
    for await (const piece of decompressed(blobPieces(job.blob, onProgress, signal))) {
      signal.throwIfAborted();
      hash.update(piece);
      reader.push(piece);
    }
    reader.end();
    extractor.finish();
    return { diffId: `sha256:${hash.digest('hex')}`, size: extractor.size, implied: extractor.implied };
  } finally {
    tree.treeClose(root);
  }
}
