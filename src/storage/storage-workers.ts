import { Readable } from 'node:stream';
import { MessageChannel } from 'node:worker_threads';
import type { IdMap } from '../engine/runtime.ts';
import { ThreadReceiver, ThreadSender } from '../lib/thread-streams.ts';
import { ThreadPool } from '../lib/threads.ts';
import { workerFile } from '../lib/worker-file.ts';
import type { ExtractRequest, FoundPath } from './copy-paths.ts';
import type { StorageJob } from './storage-worker.ts';

/** A stream occupies its thread as long as its reader or writer takes, so that there are many, and apart from the short jobs. */
const streamThreads = 16;
const jobThreads = 2;

/** The jobs on file trees that are too long for the event loop. Errors are system errors or TarErrors. */
export interface StorageWorkers {
  changes(upper: string, lowers: string[]): Promise<{ path: string; kind: 0 | 1 | 2 }[]>;
  /** Gives directories of an upper directory the owner, mode, time and xattrs of those below. */
  dressImplied(upper: string, lowers: string[], paths: string[]): Promise<void>;
  layerTar(upper: string, lowers: string[]): Readable;
  /** `idMap` here and below: the root is mounted for that user namespace, and archives have the owners inside. */
  exportTar(root: string, idMap?: IdMap): Readable;
  stat(root: string, path: string): Promise<FoundPath>;
  pack(root: string, path: string, idMap?: IdMap): Promise<{ found: FoundPath; tar: Readable }>;
  extract(request: ExtractRequest, source: AsyncIterable<Buffer>): Promise<void>;
  /** Makes an empty directory or file at `path` with the directories above it, inside the root. */
  makePlace(root: string, path: string, directory: boolean, idMap?: IdMap): Promise<void>;
  fill(root: string, path: string, target: string): Promise<boolean>;
  /** See `host/tree-copy.ts`. As long as a stream: it may be gigabytes. */
  copyTree(from: string, to: string): Promise<void>;
  /** See `host/tree-copy.ts`: what is copied early, and the rest once that is asked for. `end` must be called. */
  copyInTwo(
    from: string,
    to: string,
  ): { early: Promise<void>; finish(unchanged: number): Promise<void>; end(): Promise<void> };
  /** Each of two paths of one file system gets what the other had, at once. */
  exchange(one: string, other: string): Promise<void>;
  /** See `renew-identity.ts`. */
  renewIdentity(upper: string): Promise<void>;
  close(): Promise<void>;
}

export function createStorageWorkers(): StorageWorkers {
  const makePool = (threads: number): ThreadPool =>
    new ThreadPool({
      file: workerFile(import.meta.url, './storage-worker.ts'),
      threads,
      limits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32 },
    });
  const jobs = makePool(jobThreads);
  const pool = makePool(streamThreads);
  const run = (job: StorageJob): Promise<unknown> => jobs.run(job);
  return {
    changes: async (upper, lowers) =>
      (await run({ kind: 'changes', upper, lowers })) as { path: string; kind: 0 | 1 | 2 }[],
    dressImplied: async (upper, lowers, paths) =>
      void (await run({ kind: 'dressImplied', upper, lowers, paths })),
    layerTar: (upper, lowers) => sentBy(pool, (port) => ({ kind: 'layerTar', upper, lowers, port })).tar,
    exportTar: (root, idMap) => sentBy(pool, (port) => ({ kind: 'export', root, idMap, port })).tar,
    stat: async (root, path) => (await run({ kind: 'stat', root, path })) as FoundPath,
    async pack(root, path, idMap) {
      const { tar, first } = sentBy(pool, (port) => ({ kind: 'pack', root, path, idMap, port }));
      return { found: (await first) as FoundPath, tar };
    },
    extract: (request, source) => extract(pool, request, source),
    makePlace: async (root, path, directory, idMap) =>
      void (await run({ kind: 'makePlace', root, path, directory, idMap })),
    fill: async (root, path, target) => (await run({ kind: 'fill', root, path, target })) as boolean,
    copyTree: async (from, to) => void (await pool.run({ kind: 'copyTree', from, to } satisfies StorageJob)),
    copyInTwo: (from, to) => copyInTwo(pool, from, to),
    exchange: async (one, other) => void (await run({ kind: 'exchange', one, other })),
    renewIdentity: async (upper) => void (await run({ kind: 'renewIdentity', upper })),
    close: async () => void (await Promise.all([jobs.close(), pool.close()])),
  };
}

function copyInTwo(pool: ThreadPool, from: string, to: string): ReturnType<StorageWorkers['copyInTwo']> {
  const { port1, port2 } = new MessageChannel();
  const { promise: early, resolve, reject } = Promise.withResolvers<void>();
  const done = pool.run({ kind: 'copyInTwo', from, to, port: port2 } satisfies StorageJob, {
    transfer: [port2],
    onProgress: () => resolve(),
  });
  done.catch(reject);
  early.catch(() => undefined);
  return {
    early,
    async finish(unchanged) {
      port1.postMessage(unchanged);
      await done;
    },
    async end() {
      port1.close();
      await done.catch(() => undefined);
    },
  };
}

type StreamJob = Extract<StorageJob, { port: unknown }>;

/** Runs a job that sends bytes. `first`: what it reports before them, or its failure. */
function sentBy(
  pool: ThreadPool,
  job: (port: StreamJob['port']) => StreamJob,
): { tar: Readable; first: Promise<unknown> } {
  const { port1, port2 } = new MessageChannel();
  const receiver = new ThreadReceiver(port1);
  const { promise: first, resolve, reject } = Promise.withResolvers<unknown>();
  const tar = Readable.from(receiver, { objectMode: false, highWaterMark: 1 << 20 });
  // Destroyed before anybody read from it, the iteration that closes the port has not begun.
  tar.once('close', () => port1.close());
  pool.run(job(port2), { transfer: [port2], onProgress: resolve }).catch((error: unknown) => {
    reject(error);
    receiver.fail(error);
    // Nobody may be reading yet: the failure of `first` tells it then.
    tar.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  first.catch(() => tar.on('error', () => {}));
  return { tar, first };
}

async function extract(
  pool: ThreadPool,
  request: ExtractRequest,
  source: AsyncIterable<Buffer>,
): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  const sender = new ThreadSender(port1);
  const extracted = pool.run({ kind: 'extract', request, port: port2 } satisfies StorageJob, {
    transfer: [port2],
  });
  const fed = feed(sender, source);
  try {
    await Promise.all([extracted, fed]);
  } catch (error) {
    // The extractor's reason explains the sender's broken pipe, not the other way round.
    await extracted;
    throw error;
  } finally {
    sender.close();
  }
}

async function feed(sender: ThreadSender, source: AsyncIterable<Buffer>): Promise<void> {
  try {
    for await (const chunk of source) await sender.write(new Uint8Array(chunk));
    sender.end();
  } catch (error) {
    sender.close();
    throw error;
  }
}
