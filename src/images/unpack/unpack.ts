import { availableParallelism } from 'node:os';
import { errnoOf, isleError, messageOf } from '../../lib/errors.ts';
import { ThreadPool } from '../../lib/threads.ts';
import { workerFile } from '../../lib/worker-file.ts';
import type { BlobSource } from '../content-store.ts';
import type { Unpacked, UnpackJob } from './unpack-worker.ts';

export interface UnpackOptions {
  /** The layer's blob: gzip, zstd or plain, told by its content; may still be growing. */
  blob: BlobSource;
  /** Only named in errors. */
  mediaType?: string;
  /** An empty directory; on failure the caller removes it. */
  target: string;
  signal?: AbortSignal;
  /** Compressed bytes read so far. */
  onProgress?: (bytes: number) => void;
}

export interface Unpacker {
  /** Throws `invalidLayer`, `diskFull`; when it returns or throws, nothing touches `target` any more. */
  unpack(options: UnpackOptions): Promise<Unpacked>;
  close(): Promise<void>;
}

/** Unpacks layers on worker threads: as many at a time as there are processors, ended when idle for ten seconds. */
export function createUnpacker({ threads = availableParallelism() }: { threads?: number } = {}): Unpacker {
  const pool = new ThreadPool({
    file: workerFile(import.meta.url, './unpack-worker.ts'),
    threads,
    limits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32 },
  });
  return {
    async unpack({ blob, target, signal, onProgress }) {
      const job: UnpackJob = { blob, target };
      try {
        return (await pool.run(job, {
          signal,
          onProgress: (bytes) => onProgress?.(bytes as number),
        })) as Unpacked;
      } catch (error) {
        throw explainUnpacking(error, target, 'unpacking a layer', signal);
      }
    },
    close: () => pool.close(),
  };
}

/** Also for what else is read on worker threads into `path`. */
export function explainUnpacking(error: unknown, path: string, what: string, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason;
  const code = errnoOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return isleError('diskFull', { path, what }, error);
  if (error instanceof Error && error.name === 'TarError') {
    return isleError('invalidLayer', { why: error.message }, error);
  }
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') {
    return isleError('invalidLayer', { why: `${what} takes more memory than it may` }, error);
  }
  return isleError('internal', { message: `${what} failed: ${messageOf(error)}` }, error);
}
