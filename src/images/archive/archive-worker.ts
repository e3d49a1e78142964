import { createHash, type Hash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, type MessagePort } from 'node:worker_threads';
import { decompressed } from '../../lib/decompress.ts';
import { TarError, textOf, type TarEntry } from '../../lib/tar/entry.ts';
import { TarReader, type TarHandler } from '../../lib/tar/reader.ts';
import { ThreadReceiver } from '../../lib/thread-streams.ts';
import { serveThread } from '../../lib/threads.ts';

export interface SpoolJob {
  port: MessagePort;
  directory: string;
}

/** A member of an image archive: its content lies in the scratch directory under a number. */
export type Spooled =
  | { name: string; file: string; size: number; digest: string }
  /** A symlink or hard link, as the archives of old Docker versions have them. */
  | { name: string; link: string; hard: boolean };

/** An image archive has a few members per layer. */
const memberLimit = 20_000;

if (parentPort) serveThread<SpoolJob>(parentPort, spool);

/** Takes an archive (gzip, zstd or plain) apart into files with numbers for names; no name of the archive becomes a path. */
async function spool(job: SpoolJob): Promise<Spooled[]> {
  using spooler = new Spooler(job.directory);
  const reader = new TarReader(spooler);
  for await (const piece of decompressed(new ThreadReceiver(job.port))) reader.push(piece);
  reader.end();
  return spooler.members;
}

class Spooler implements TarHandler, Disposable {
  readonly members: Spooled[] = [];
  readonly #directory: string;
  #fd = -1;
  #hash: Hash = createHash('sha256');
  #entry: TarEntry | undefined;
  #file = '';

  constructor(directory: string) {
    this.#directory = directory;
  }

  entry(entry: TarEntry): void {
    if (this.members.length >= memberLimit) throw new TarError(`it has more than ${memberLimit} members`);
    const name = memberName(entry.name);
    if (entry.type === 'symlink' || entry.type === 'link') {
      this.members.push({ name, link: textOf(entry.linkName), hard: entry.type === 'link' });
      return;
    }
    if (entry.type !== 'file') return;
    if (entry.sparse) throw new TarError(`member ${JSON.stringify(name)} is sparse`);
    this.#entry = entry;
    this.#hash = createHash('sha256');
    this.#file = String(this.members.length);
    this.#fd = openSync(join(this.#directory, this.#file), 'wx', 0o600);
  }

  data(chunk: Buffer): void {
    this.#hash.update(chunk);
    for (let at = 0; at < chunk.length; ) at += writeSync(this.#fd, chunk, at);
  }

  endEntry(): void {
    const entry = this.#entry;
    if (entry === undefined) return;
    this[Symbol.dispose]();
    this.#entry = undefined;
    const digest = `sha256:${this.#hash.digest('hex')}`;
    this.members.push({ name: memberName(entry.name), file: this.#file, size: entry.size, digest });
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

function memberName(name: string): string {
  return textOf(name.replace(/^(\.?\/)+/, '').replace(/\/+$/, ''));
}
