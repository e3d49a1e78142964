import { createHash } from 'node:crypto';
import { closeSync, constants, ftruncateSync, openSync, writeSync, createReadStream } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { decompressed } from '../../lib/decompress.ts';
import { TarError, textOf, type TarEntry } from '../../lib/tar/entry.ts';
import { TarReader, type TarHandler } from '../../lib/tar/reader.ts';
import { serveThread } from '../../lib/threads.ts';
import { xxh64 } from './xxh64.ts';

export interface XvaJob {
  /** The archive. */
  path: string;
  /** `Ref:12`, of the disk. */
  reference: string;
  /** bytes */
  size: number;
  /** A file that is not there yet. */
  target: string;
}

if (parentPort) serveThread<XvaJob>(parentPort, takeDisk);

/** Puts a disk's chunks where they belong; a chunk that is not there is zeros. Throws {@link TarError}. */
async function takeDisk(job: XvaJob): Promise<void> {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
  const fd = openSync(job.target, flags, 0o600);
  try {
    ftruncateSync(fd, job.size);
    const disk = new DiskChunks(fd, job);
    const reader = new TarReader(disk);
    for await (const piece of decompressed(createReadStream(job.path, { highWaterMark: 1 << 20 })))
      reader.push(piece);
    reader.end();
    disk.end();
  } finally {
    closeSync(fd);
  }
}

const chunkSize = 1 << 20;

class DiskChunks implements TarHandler {
  readonly #fd: number;
  readonly #job: XvaJob;
  readonly #seen = new Set<number>();
  #part: { number: number; kind: string; pieces: Buffer[] } | undefined;
  /** Waits for its checksum. */
  #chunk: { number: number; content: Buffer } | undefined;

  constructor(fd: number, job: XvaJob) {
    this.#fd = fd;
    this.#job = job;
  }

  entry(entry: TarEntry): void {
    const name = textOf(entry.name);
    if (!name.startsWith(`${this.#job.reference}/`)) return;
    if (entry.type === 'directory') return;
    const match = /^\/(\d{8,12})(?:\.(checksum|xxhash))?$/.exec(name.slice(this.#job.reference.length));
    if (!match || entry.type !== 'file' || entry.sparse)
      throw new TarError(`its member ${name} is none of a disk`);
    if (entry.size > chunkSize)
      throw new TarError(
        `its member ${name} has ${entry.size} bytes, a part of a disk has at most ${chunkSize}`,
      );
    this.#part = { number: Number(match[1]), kind: match[2] ?? 'chunk', pieces: [] };
  }

  data(chunk: Buffer): void {
    this.#part?.pieces.push(Buffer.from(chunk));
  }

  endEntry(): void {
    const part = this.#part;
    if (part === undefined) return;
    this.#part = undefined;
    const content = Buffer.concat(part.pieces);
    if (part.kind === 'chunk') this.#take(part.number, content);
    else this.#check(part.number, part.kind, content.toString('latin1').trim().toLowerCase());
  }

  /** Throws when the archive ended before the checksum of its last chunk. */
  end(): void {
    if (this.#chunk)
      throw new TarError(`part ${this.#chunk.number} of ${this.#job.reference} has no checksum`);
    if (this.#seen.size === 0) throw new TarError(`it has nothing of the disk ${this.#job.reference}`);
  }

  #take(number: number, content: Buffer): void {
    if (this.#chunk)
      throw new TarError(`part ${this.#chunk.number} of ${this.#job.reference} has no checksum`);
    if (this.#seen.has(number)) throw new TarError(`it has part ${number} of ${this.#job.reference} twice`);
    if (number * chunkSize + content.length > this.#job.size)
      throw new TarError(
        `part ${number} of ${this.#job.reference} lies beyond the end of the disk (${this.#job.size} bytes)`,
      );
    this.#seen.add(number);
    this.#chunk = { number, content };
  }

  #check(number: number, kind: string, expected: string): void {
    const chunk = this.#chunk;
    if (chunk?.number !== number)
      throw new TarError(`the checksum of part ${number} of ${this.#job.reference} does not follow it`);
    const actual =
      kind === 'xxhash' ? xxh64(chunk.content) : createHash('sha1').update(chunk.content).digest('hex');
    if (actual !== expected)
      throw new TarError(
        `part ${number} of ${this.#job.reference} has the checksum ${actual}, not ${expected}: it was damaged or tampered with`,
      );
    this.#chunk = undefined;
    if (chunk.content.every((byte) => byte === 0)) return;
    for (let done = 0; done < chunk.content.length; )
      done += writeSync(
        this.#fd,
        chunk.content,
        done,
        chunk.content.length - done,
        number * chunkSize + done,
      );
  }
}
