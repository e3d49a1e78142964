import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { normalTime, parseEntry, type RawEntry } from './entry.ts';
import { type LogFile, logFiles, openLogFile, successor } from './files.ts';
import { LineSplitter } from './lines.ts';
import { type LogPosition, tailPosition } from './tail.ts';

export interface ReadLogOptions {
  stdout: boolean;
  stderr: boolean;
  /** RFC 3339; entries from then on. */
  since?: string;
  /** RFC 3339; entries up to then. */
  until?: string;
  /** Only the last so many lines; absent: all. */
  tail?: number;
  /** Go on with what is written later, until `ended`. */
  follow: boolean;
  /** Resolves when nothing more will be written. */
  ended: Promise<void>;
}

export interface LogLine {
  stream: 'stdout' | 'stderr';
  /** RFC 3339 in UTC with nanoseconds. */
  time: string;
  /** With its newline, unless the process wrote none. */
  data: Buffer;
}

const chunkSize = 64 * 1024;

/** Bytes of a line that are joined from partial entries; a longer one comes in pieces. As Docker's. */
const maxJoined = 16 * 1024;

/**
 * Reads a container's log: conmon's k8s-file format in `path`, and what was rotated away from it (`path.1`, …)
 * before. Follows across rotations without losing or repeating a line. Ends early and quietly on `signal`.
 */
export async function* readLog(
  path: string,
  options: ReadLogOptions,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  const since = options.since === undefined ? '' : (normalTime(options.since) ?? options.since);
  const until = options.until === undefined ? '~' : (normalTime(options.until) ?? options.until);
  const wanted = (entry: RawEntry) => options[entry.stream] && entry.time >= since && entry.time <= until;
  const joiner = new LineJoiner();
  for await (const chunk of chunksOf(path, options, wanted, signal))
    for (const line of chunk) {
      const entry = parseEntry(line);
      if (!entry || !options[entry.stream] || entry.time < since) continue;
      if (entry.time > until) return;
      yield* joiner.push(entry);
    }
  yield* joiner.end();
}

/** The lines of every file from where to begin, in order; one iterable for each chunk read. */
async function* chunksOf(
  path: string,
  options: ReadLogOptions,
  wanted: (entry: RawEntry) => boolean,
  signal: AbortSignal,
): AsyncGenerator<Iterable<Buffer>> {
  // Watching begins before the first look, so that nothing written in between is slept through.
  const changes = options.follow ? new Changes(path, options, signal) : undefined;
  try {
    const start = await startOf(path, options.tail, wanted);
    let next: string | undefined = start.path;
    let offset = start.offset;
    while (next !== undefined && !signal.aborted) {
      const file = await openLogFile(next);
      if (!file) {
        // Not written yet, or rotated away between the look and the open.
        if (next === path && !(await changes?.next())) return;
        [next, offset] = [path, 0];
        continue;
      }
      try {
        yield* linesOf(file, offset, path, changes, signal);
        next = await successor(path, file.inode);
        offset = 0;
      } finally {
        await file.handle.close();
      }
    }
  } finally {
    changes?.close();
  }
}

/** The lines of one file, until it ends for good. */
async function* linesOf(
  file: LogFile,
  from: number,
  path: string,
  changes: Changes | undefined,
  signal: AbortSignal,
): AsyncGenerator<Iterable<Buffer>> {
  const splitter = new LineSplitter();
  const buffer = Buffer.alloc(chunkSize);
  let offset = from;
  let last = false;
  while (!signal.aborted) {
    const { bytesRead } = await file.handle.read(buffer, 0, chunkSize, offset);
    if (bytesRead > 0) {
      offset += bytesRead;
      yield splitter.push(buffer.subarray(0, bytesRead));
      continue;
    }
    if (last || !changes) return;
    // A later file exists: the writer has left this one; what it wrote before leaving is read in one more round.
    if ((await successor(path, file.inode)) !== undefined) last = true;
    else if (!(await changes.next())) last = true;
  }
}

async function startOf(
  path: string,
  tail: number | undefined,
  wanted: (entry: RawEntry) => boolean,
): Promise<LogPosition> {
  if (tail !== undefined && tail >= 0) {
    const found = await tailPosition(path, tail, wanted);
    if (found) return found;
  }
  const paths = await logFiles(path);
  return { path: paths[0] ?? path, offset: 0 };
}

/** Tells when the log's directory changed, and when there is nothing more to wait for. */
class Changes {
  #watcher: FSWatcher;
  #signal: AbortSignal;
  #over = false;
  #changed = false;
  #wake: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #onAbort = () => this.#finish();

  constructor(path: string, options: ReadLogOptions, signal: AbortSignal) {
    const name = basename(path);
    this.#signal = signal;
    this.#watcher = watch(dirname(path), { persistent: false }, (_event, file) => {
      if (file !== null && !file.startsWith(name)) return;
      this.#changed = true;
      this.#wake();
    });
    this.#watcher.on('error', () => this.#finish());
    signal.addEventListener('abort', this.#onAbort, { once: true });
    options.ended.then(this.#onAbort, this.#onAbort);
    if (options.until !== undefined) {
      const wait = Date.parse(options.until) - Date.now();
      this.#timer = setTimeout(this.#onAbort, Math.min(Math.max(0, wait), 0x7fff_ffff)).unref();
    }
  }

  /** True after a change; false when the log has ended: read once more what is there, then stop. */
  async next(): Promise<boolean> {
    if (!this.#changed && !this.#over) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    this.#changed = false;
    return !this.#over;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#watcher.close();
  }

  #finish(): void {
    this.#over = true;
    this.#wake();
  }
}

const newline = Buffer.from('\n');

/** Joins partial entries of each stream to lines. */
class LineJoiner {
  #parts = new Map<string, { time: string; data: Buffer }>();

  *push(entry: RawEntry): Generator<LogLine> {
    const before = this.#parts.get(entry.stream);
    const time = before?.time ?? entry.time;
    // Copies: the entry lies in a buffer that is read into again.
    const data = Buffer.concat([
      ...(before ? [before.data] : []),
      entry.data,
      ...(entry.partial ? [] : [newline]),
    ]);
    this.#parts.delete(entry.stream);
    const { stream } = entry;
    if (!entry.partial) yield { stream, time, data };
    else if (data.length >= maxJoined) yield { stream, time, data };
    else this.#parts.set(stream, { time, data });
  }

  *end(): Generator<LogLine> {
    for (const [stream, part] of this.#parts) yield { stream: stream as LogLine['stream'], ...part };
    this.#parts.clear();
  }
}
