import { blockSize, metadataLimit, TarError, type TarEntry } from './entry.ts';
import { parseHeader, type RawHeader } from './header.ts';
import { Extensions } from './extensions.ts';
import {
  checkSparse,
  oldRealSize,
  parseOldSparse,
  parseSparsePrefix,
  sparseLength,
  sparseSegments,
} from './sparse.ts';

/** What happens to the members, in order. `data` may be called any number of times, with ascending positions. */
export interface TarHandler {
  entry(entry: TarEntry): void;
  /** `chunk` is only valid during the call. `position` is that of its first byte in the file. */
  data(chunk: Buffer, position: number): void;
  endEntry(): void;
}

/**
 * A push parser of tar archives: ustar, PAX (global headers, binary xattrs, sparse 0.0, 0.1 and 1.0), GNU (long names and
 * links, old sparse, base-256 numbers), version 7. Holds at most one header in memory, and never the content.
 * `push` any pieces, then `end`. Throws {@link TarError}; what the handler throws passes through.
 */
export class TarReader {
  readonly #handler: TarHandler;
  readonly #block = Buffer.allocUnsafeSlow(blockSize);
  #filled = 0;
  #state: State = 'header';
  /** Bytes of the archive left in the current state. */
  #left = 0;
  #padding = 0;
  #collected: Buffer[] = [];
  #collectedBytes = 0;
  #collectFor: (content: Buffer) => void = () => {};
  #lines = 0;
  #linesWanted = 0;
  #extensions = new Extensions();
  #entry: TarEntry | undefined;
  /** Where the next content byte lies in the file, and how many bytes its segment still has. */
  #position = 0;
  #segment = 0;
  #segmentLeft = 0;
  #zeroBlocks = 0;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case 'header':
        case 'sparse':
          at = this.#takeBlock(chunk, at);
          break;
        case 'metadata':
        case 'prefix':
          at = this.#collect(chunk, at);
          break;
        case 'content':
          at = this.#takeContent(chunk, at);
          break;
        case 'skip':
          at = this.#skip(chunk, at);
          break;
        case 'done':
          return;
      }
    }
  }

  /** Throws when the archive was cut short. An archive without its closing zero blocks is accepted, as tar does. */
  end(): void {
    if (this.#state === 'done') return;
    if (this.#state !== 'header' || this.#filled !== 0 || this.#extensions.pending) {
      throw new TarError('the archive ends in the middle of a member');
    }
  }

  #takeBlock(chunk: Buffer, at: number): number {
    if (this.#filled === 0 && chunk.length - at >= blockSize) {
      this.#onBlock(chunk.subarray(at, at + blockSize));
      return at + blockSize;
    }
    const count = Math.min(blockSize - this.#filled, chunk.length - at);
    chunk.copy(this.#block, this.#filled, at, at + count);
    this.#filled += count;
    if (this.#filled === blockSize) {
      this.#filled = 0;
      this.#onBlock(this.#block);
    }
    return at + count;
  }

  #onBlock(block: Buffer): void {
    if (this.#state === 'sparse') this.#onSparseBlock(block);
    else this.#onHeader(block);
  }

  #onHeader(block: Buffer): void {
    const header = parseHeader(block);
    if (header === undefined) {
      if (this.#extensions.pending) throw new TarError('an extended header is followed by no member');
      if (++this.#zeroBlocks === 2) this.#state = 'done';
      return;
    }
    this.#zeroBlocks = 0;
    const { flag, entry } = header;
    const gather = (take: (content: Buffer) => void): void => this.#startMetadata(entry.size, take);
    switch (flag) {
      case 'x':
      case 'X':
        return gather((content) => this.#extensions.local(content));
      case 'g':
        return gather((content) => this.#extensions.global(content));
      case 'L':
        return gather((content) => this.#extensions.longName(content));
      case 'K':
        return gather((content) => this.#extensions.longLink(content));
      case 'V':
        return this.#startSkip(padded(entry.size));
      case 'S':
        return this.#startOldSparse(header, block);
    }
    if (!/[0-7D\0]/.test(flag)) throw new TarError(`members of type "${printable(flag)}" are not supported`);
    this.#startEntry(header);
  }

  #startEntry(header: RawHeader): void {
    const { entry } = header;
    const stored = this.#extensions.apply(entry);
    // As Go's archive/tar: these have no content whatever the size says; GNU's dump directory does.
    if (entry.type !== 'file') {
      entry.size = 0;
      this.#handler.entry(entry);
      this.#handler.endEntry();
      if (header.flag === 'D') this.#startSkip(padded(stored));
      return;
    }
    if (this.#extensions.sparsePrefix) return this.#startPrefix(entry, stored);
    this.#startContent(entry, stored);
  }

  #startPrefix(entry: TarEntry, stored: number): void {
    if (stored === 0) throw new TarError('a sparse map is missing');
    this.#entry = entry;
    this.#state = 'prefix';
    this.#collected = [];
    this.#collectedBytes = this.#lines = this.#linesWanted = 0;
    this.#left = stored;
  }

  #startContent(entry: TarEntry, stored: number): void {
    this.#entry = entry;
    if (entry.sparse) {
      entry.sparse = checkSparse(entry.sparse, entry.size);
      if (sparseLength(entry.sparse) !== stored) throw new TarError('a sparse map does not match its data');
    }
    this.#segment = 0;
    this.#position = entry.sparse?.[0] ?? 0;
    this.#segmentLeft = entry.sparse ? (entry.sparse[1] ?? 0) : stored;
    this.#left = stored;
    this.#padding = padded(stored) - stored;
    this.#handler.entry(entry);
    this.#state = 'content';
    if (stored === 0) this.#endContent();
  }

  #takeContent(chunk: Buffer, at: number): number {
    const count = Math.min(this.#left, this.#segmentLeft, chunk.length - at);
    this.#handler.data(count === chunk.length ? chunk : chunk.subarray(at, at + count), this.#position);
    this.#left -= count;
    this.#segmentLeft -= count;
    this.#position += count;
    if (this.#left === 0) this.#endContent();
    else if (this.#segmentLeft === 0) this.#nextSegment();
    return at + count;
  }

  #nextSegment(): void {
    const sparse = this.#entry?.sparse ?? [];
    this.#segment += 2;
    this.#position = sparse[this.#segment] ?? 0;
    this.#segmentLeft = sparse[this.#segment + 1] ?? 0;
  }

  #endContent(): void {
    this.#handler.endEntry();
    this.#entry = undefined;
    this.#startSkip(this.#padding);
  }

  #startSkip(bytes: number): void {
    this.#left = bytes;
    this.#state = bytes === 0 ? 'header' : 'skip';
  }

  #skip(chunk: Buffer, at: number): number {
    const count = Math.min(this.#left, chunk.length - at);
    this.#left -= count;
    if (this.#left === 0) this.#state = 'header';
    return at + count;
  }

  #startMetadata(size: number, take: (content: Buffer) => void): void {
    if (size > metadataLimit) {
      throw new TarError(`an extended header of ${size} bytes exceeds the limit of ${metadataLimit}`);
    }
    this.#state = 'metadata';
    this.#collected = [];
    this.#collectFor = take;
    this.#left = size;
    this.#padding = padded(size) - size;
    if (size === 0) this.#endMetadata();
  }

  #collect(chunk: Buffer, at: number): number {
    if (this.#state === 'prefix') return this.#collectPrefix(chunk, at);
    const count = Math.min(this.#left, chunk.length - at);
    this.#collected.push(Buffer.from(chunk.subarray(at, at + count)));
    this.#left -= count;
    if (this.#left === 0) this.#endMetadata();
    return at + count;
  }

  #endMetadata(): void {
    const content = Buffer.concat(this.#collected);
    this.#collected = [];
    this.#collectFor(content);
    this.#startSkip(this.#padding);
  }

  /** The map of a PAX 1.0 sparse file leads its content, in whole blocks: 1 + 2 × segments lines. */
  #collectPrefix(chunk: Buffer, at: number): number {
    const wanted = blockSize - (this.#collectedBytes % blockSize);
    const count = Math.min(wanted, chunk.length - at, this.#left);
    const piece = Buffer.from(chunk.subarray(at, at + count));
    this.#collected.push(piece);
    this.#collectedBytes += count;
    this.#left -= count;
    for (const byte of piece) if (byte === 0x0a) this.#lines++;
    if (this.#collectedBytes % blockSize === 0 && this.#mapIsWhole()) {
      const { map, length } = parseSparsePrefix(Buffer.concat(this.#collected));
      if (length !== this.#collectedBytes) throw new TarError('a sparse map is malformed');
      this.#collected = [];
      this.#entry!.sparse = map;
      this.#startContent(this.#entry!, this.#left);
    } else if (this.#left === 0 || this.#collectedBytes >= metadataLimit) {
      throw new TarError('a sparse map is too long or cut short');
    }
    return at + count;
  }

  #mapIsWhole(): boolean {
    if (this.#lines > 0 && this.#linesWanted === 0)
      this.#linesWanted = 1 + 2 * sparseSegments(Buffer.concat(this.#collected));
    return this.#linesWanted > 0 && this.#lines >= this.#linesWanted;
  }

  #startOldSparse(header: RawHeader, block: Buffer): void {
    const map: number[] = [];
    parseOldSparse(block, 386, 4, map);
    header.entry.sparse = map;
    const stored = header.entry.size;
    this.#extensions.apply(header.entry);
    header.entry.type = 'file';
    header.entry.size = oldRealSize(block);
    this.#entry = header.entry;
    this.#left = stored;
    if (block[482]) this.#state = 'sparse';
    else this.#startContent(header.entry, stored);
  }

  #onSparseBlock(block: Buffer): void {
    const map = this.#entry!.sparse!;
    parseOldSparse(block, 0, 21, map);
    if (!block[504]) this.#startContent(this.#entry!, this.#left);
  }
}

type State = 'header' | 'metadata' | 'prefix' | 'content' | 'skip' | 'sparse' | 'done';

function padded(size: number): number {
  return Math.ceil(size / blockSize) * blockSize;
}

function printable(flag: string): string {
  return /[ -~]/.test(flag) ? flag : `\\x${flag.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
