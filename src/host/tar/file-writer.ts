import { constants } from 'node:fs';
import type { TarEntry } from '../../lib/tar/entry.ts';
import { must, tree } from '../tree.ts';
import { EEXIST } from './directories.ts';
import { setXattrs } from './xattrs.ts';

const piece = 65536;
const zeros = Buffer.alloc(piece);

/**
 * Writes one regular file at a time. A file whose content comes in one chunk and that has no xattrs is one native call.
 * Long runs of zeros become holes, so that a bomb of zeros takes no disk.
 */
export class FileWriter implements Disposable {
  #entry: TarEntry | undefined;
  #parent = -1;
  #name = '';
  #clear: () => number = () => -1;
  #fd = -1;

  /** `parent` stays open until `end`. `clear` makes room when something is in the way and returns the
   * parent again. */
  begin(entry: TarEntry, parent: number, name: string, clear: () => number): void {
    this.#entry = entry;
    this.#parent = parent;
    this.#name = name;
    this.#clear = clear;
    const atOnce = entry.size === 0 || (entry.sparse === undefined && entry.size <= 1 << 20);
    if (!atOnce || entry.xattrs.size > 0) this.#open();
    else if (entry.size === 0) this.#whole(empty);
  }

  write(chunk: Buffer, position: number): void {
    const entry = this.#entry;
    // The content of a member that is not wanted.
    if (entry === undefined) return;
    if (this.#fd < 0) {
      if (chunk.length === entry.size) return this.#whole(chunk);
      this.#open();
    }
    if (entry.size < piece) {
      must(tree.treeWrite(this.#fd, chunk, position), 'write', entry.name);
      return;
    }
    let start = 0;
    for (let at = 0; at < chunk.length; at += piece) {
      const end = Math.min(at + piece, chunk.length);
      if (zeros.compare(chunk, at, end, 0, end - at) !== 0) continue;
      this.#put(chunk, start, at, position);
      start = end;
    }
    this.#put(chunk, start, chunk.length, position);
  }

  end(): void {
    const entry = this.#entry;
    this.#entry = undefined;
    if (entry === undefined || this.#fd < 0) return;
    const { mode, uid, gid, mtime, name } = entry;
    must(tree.treeTruncate(this.#fd, entry.size), 'truncate', name);
    must(tree.treeDress(this.#fd, mode, uid, gid, mtime.seconds, mtime.nanoseconds), 'chown', name);
    setXattrs(this.#fd, entry);
    this.#close();
  }

  [Symbol.dispose](): void {
    this.#close();
  }

  #whole(content: Buffer): void {
    const { mode, uid, gid, mtime, name } = this.#entry!;
    const create = (): number =>
      tree.treeWriteFile(this.#parent, this.#name, content, mode, uid, gid, mtime.seconds, mtime.nanoseconds);
    must(this.#makingRoom(create), 'write', name);
  }

  #open(): void {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const open = (): number => tree.treeOpen(this.#parent, this.#name, flags, 0o600, 0);
    this.#fd = must(this.#makingRoom(open), 'open', this.#entry!.name);
  }

  #makingRoom(create: () => number): number {
    const result = create();
    if (result !== EEXIST) return result;
    this.#parent = this.#clear();
    return create();
  }

  #put(chunk: Buffer, start: number, end: number, position: number): void {
    if (end <= start) return;
    must(tree.treeWrite(this.#fd, chunk.subarray(start, end), position + start), 'write', this.#entry!.name);
  }

  #close(): void {
    if (this.#fd >= 0) tree.treeClose(this.#fd);
    this.#fd = -1;
  }
}

const empty = Buffer.alloc(0);
