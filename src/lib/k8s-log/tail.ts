import { parseEntry, type RawEntry } from './entry.ts';
import { logFiles, openLogFile } from './files.ts';

const blockSize = 64 * 1024;
const newline = 0x0a;

/** Where to begin reading: a byte of one of the log's files. */
export interface LogPosition {
  path: string;
  offset: number;
}

/**
 * Finds the beginning of the last `count` lines that `wanted` accepts, reading blocks from the end and no more of
 * them than needed. A line of several partial entries counts once.
 */
export async function tailPosition(
  path: string,
  count: number,
  wanted: (entry: RawEntry) => boolean,
): Promise<LogPosition | undefined> {
  const counter = new LineCounter(count, wanted);
  for (const each of (await logFiles(path)).reverse()) {
    const file = await openLogFile(each);
    if (!file) continue;
    try {
      const { size } = await file.handle.stat();
      const offset = await scanBack(size, counter, async (start, length) => {
        const block = Buffer.alloc(length);
        const { bytesRead } = await file.handle.read(block, 0, length, start);
        return block.subarray(0, bytesRead);
      });
      if (offset !== undefined) return { path: each, offset };
    } finally {
      await file.handle.close();
    }
  }
  return undefined;
}

/** Feeds lines from the last to the first; the offset where counting ended, or undefined at the file's start. */
async function scanBack(
  size: number,
  counter: LineCounter,
  read: (start: number, length: number) => Promise<Buffer>,
): Promise<number | undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - blockSize);
    const block = Buffer.concat([await read(start, end - start), rest]);
    let lineEnd = block.length;
    for (let at = previousNewline(block, lineEnd - 1); at >= 0; at = previousNewline(block, at)) {
      if (counter.enough(block.subarray(at + 1, lineEnd))) return start + lineEnd;
      lineEnd = at + 1;
    }
    rest = block.subarray(0, lineEnd);
    end = start;
  }
  return counter.enough(rest) ? rest.length : undefined;
}

function previousNewline(block: Buffer, before: number): number {
  return before <= 0 ? -1 : block.lastIndexOf(newline, before - 1);
}

class LineCounter {
  #left: number;
  #wanted: (entry: RawEntry) => boolean;

  constructor(count: number, wanted: (entry: RawEntry) => boolean) {
    this.#left = count;
    this.#wanted = wanted;
  }

  #seen = new Set<string>();

  /** Takes the line before those already taken; true when it is one too many, so that reading begins after it. */
  enough(line: Buffer): boolean {
    const entry = parseEntry(line.at(-1) === newline ? line.subarray(0, -1) : line);
    if (!entry || !this.#wanted(entry)) return false;
    // A whole entry ends a line; so does the last partial one of its stream, when nothing follows it.
    const endsLine = !entry.partial || !this.#seen.has(entry.stream);
    this.#seen.add(entry.stream);
    if (!endsLine) return false;
    if (this.#left === 0) return true;
    this.#left--;
    return false;
  }
}
