import { MessageChannel } from 'node:worker_threads';
import { diskSpace } from '../../host/disk.ts';
import { isIsleError, isleError } from '../../lib/errors.ts';
import { ThreadReceiver, ThreadSender } from '../../lib/thread-streams.ts';
import { ThreadPool } from '../../lib/threads.ts';
import { workerFile } from '../../lib/worker-file.ts';
import type { ContentStore } from '../content-store.ts';
import { explainUnpacking } from '../unpack/unpack.ts';
import type { RootFacts, RootJob } from './root-worker.ts';

/**
 * Stores the root file system that `archive` holds as a plain tar, on a thread of its own with bounded memory. Throws
 * `invalidArchive`, `diskFull`, and what `archive` fails with; nothing is stored then.
 */
export async function storeRoot(
  content: ContentStore,
  archive: AsyncIterable<Buffer>,
  { metadata, isRoot = false, signal }: { metadata?: Buffer; isRoot?: boolean; signal?: AbortSignal },
): Promise<{ layer: { digest: string; size: number }; facts: RootFacts }> {
  const room = await roomOf(content);
  const pool = new ThreadPool({
    file: workerFile(import.meta.url, './root-worker.ts'),
    threads: 1,
    limits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 32 },
  });
  const [into, out] = [new MessageChannel(), new MessageChannel()];
  const sender = new ThreadSender(into.port1);
  const receiver = new ThreadReceiver(out.port1);
  try {
    const job: RootJob = { input: into.port2, output: out.port2, isRoot, ...(metadata && { metadata }) };
    const broken = new AbortController();
    const either = AbortSignal.any([broken.signal, ...(signal ? [signal] : [])]);
    const split = pool.run(job, {
      transfer: [into.port2, out.port2],
      signal: either,
    }) as Promise<RootFacts>;
    split.catch((error: unknown) => {
      sender.close();
      receiver.fail(error);
    });
    const sent = send(archive, sender);
    // The thread would wait for ever for what does not come any more, and the store for the thread.
    sent.catch((error: unknown) => broken.abort(error));
    const outcomes = await Promise.allSettled([sent, content.putStream(bounded(receiver, room)), split]);
    return choose(...outcomes);
  } catch (error) {
    throw explain(error, signal);
  } finally {
    sender.close();
    out.port1.close();
    await pool.close();
  }
}

/** Of the room there is, what one image may take: a few bytes can stand for any number of zeros. */
const share = 0.8;

async function roomOf(content: ContentStore): Promise<{ path: string; bytes: number }> {
  await using scratch = await content.scratch();
  return { path: scratch.path, bytes: (await diskSpace(scratch.path)).available * share };
}

async function* bounded(
  source: AsyncIterable<Buffer>,
  room: { path: string; bytes: number },
): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const piece of source) {
    bytes += piece.length;
    if (bytes > room.bytes)
      throw isleError('diskFull', {
        path: room.path,
        what: `unpacking an image of more than ${bytes} bytes`,
      });
    yield piece;
  }
}

type Outcome<T> = PromiseSettledResult<T>;

/** When one of the three fails the others break with it: what broke first is to be told. */
function choose(
  sent: Outcome<void>,
  stored: Outcome<{ digest: string; size: number }>,
  split: Outcome<RootFacts>,
): { layer: { digest: string; size: number }; facts: RootFacts } {
  if (sent.status === 'rejected' && !isBrokenPipe(sent.reason)) throw sent.reason;
  if (stored.status === 'rejected' && isIsleError(stored.reason)) throw stored.reason;
  if (split.status === 'rejected') throw split.reason;
  if (stored.status === 'rejected') throw stored.reason;
  if (sent.status === 'rejected') throw sent.reason;
  return { layer: stored.value, facts: split.value };
}

async function send(source: AsyncIterable<Buffer>, sender: ThreadSender): Promise<void> {
  try {
    for await (const piece of source) await sender.write(new Uint8Array(piece));
    sender.end();
  } catch (error) {
    sender.close();
    throw error;
  }
}

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE';
}

function explain(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (isIsleError(error)) return error;
  if (error instanceof Error && error.name === 'TarError')
    return isleError('invalidArchive', { why: error.message }, error);
  return explainUnpacking(error, '', 'reading an image', signal);
}
