import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { isleError } from '../../lib/errors.ts';
import { ThreadSender } from '../../lib/thread-streams.ts';
import { ThreadPool } from '../../lib/threads.ts';
import { workerFile } from '../../lib/worker-file.ts';
import { explainUnpacking } from '../unpack/unpack.ts';
import type { Spooled } from './archive-worker.ts';

const documentLimit = 8 << 20;

export interface SpooledFile {
  path: string;
  size: number;
  digest: string;
}

/** The members of an image archive by name, their content in a scratch directory. */
export class SpooledArchive {
  readonly #directory: string;
  readonly #members = new Map<string, Spooled>();
  readonly #byDigest = new Map<string, SpooledFile>();

  /** Reads `source` to its end on a worker thread. Throws `invalidArchive`, `diskFull`. */
  static async read(
    source: AsyncIterable<Buffer>,
    directory: string,
    signal?: AbortSignal,
  ): Promise<SpooledArchive> {
    const pool = new ThreadPool({
      file: workerFile(import.meta.url, './archive-worker.ts'),
      threads: 1,
      limits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 32 },
    });
    const { port1, port2 } = new MessageChannel();
    const sender = new ThreadSender(port1);
    try {
      const spooled = pool.run({ port: port2, directory }, { transfer: [port2], signal });
      spooled.catch(() => sender.close());
      await send(source, sender).catch((error: unknown) => failUnless(spooled, error));
      return new SpooledArchive(directory, (await spooled) as Spooled[]);
    } catch (error) {
      throw explainArchive(error, directory, signal);
    } finally {
      sender.close();
      await pool.close();
    }
  }

  constructor(directory: string, members: Spooled[]) {
    this.#directory = directory;
    for (const member of members) {
      // Of two members of one name the last counts, as for every reader that extracts.
      this.#members.set(member.name, member);
      if ('file' in member) this.#byDigest.set(member.digest, this.#fileOf(member));
    }
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  byDigest(digest: string): SpooledFile | undefined {
    return this.#byDigest.get(digest);
  }

  /** The file a name stands for; links (of old archives) are followed among the members. */
  find(name: string): SpooledFile | undefined {
    let path = posix.normalize(name).replace(/^\/+/, '');
    for (let links = 0; links < 16; links++) {
      const member = this.#members.get(path);
      if (member === undefined) return undefined;
      if ('file' in member) return this.#fileOf(member);
      const target = member.hard ? member.link : posix.join(posix.dirname(path), member.link);
      path = posix.normalize(target).replace(/^(\.?\/)+/, '');
    }
    return undefined;
  }

  /** A JSON document of the archive. Throws `invalidArchive` when it is too large or none. */
  async json(name: string): Promise<unknown> {
    const bytes = await this.bytes(this.find(name), name);
    try {
      return JSON.parse(bytes.toString('utf8'));
    } catch (error) {
      throw isleError('invalidArchive', { why: `its ${name} is not valid JSON` }, error);
    }
  }

  async bytes(file: SpooledFile | undefined, name: string): Promise<Buffer> {
    if (file === undefined) throw isleError('invalidArchive', { why: `it has no ${name}` });
    if (file.size > documentLimit) {
      throw isleError('invalidArchive', {
        why: `its ${name} has ${file.size} bytes, more than ${documentLimit}`,
      });
    }
    return readFile(file.path);
  }

  #fileOf(member: Extract<Spooled, { file: string }>): SpooledFile {
    return { path: join(this.#directory, member.file), size: member.size, digest: member.digest };
  }
}

async function send(source: AsyncIterable<Buffer>, sender: ThreadSender): Promise<void> {
  for await (const piece of source) await sender.write(new Uint8Array(piece));
  sender.end();
}

/** When the reader failed first, its reason explains the sender's broken pipe. */
async function failUnless(spooled: Promise<unknown>, error: unknown): Promise<void> {
  const broken = error instanceof Error && 'code' in error && error.code === 'EPIPE';
  if (broken) await spooled;
  throw error;
}

function explainArchive(error: unknown, directory: string, signal: AbortSignal | undefined): unknown {
  const explained = explainUnpacking(error, directory, 'reading an image archive', signal);
  if (error instanceof Error && error.name === 'TarError') {
    return isleError('invalidArchive', { why: error.message }, error);
  }
  return explained;
}
