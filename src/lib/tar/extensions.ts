import { metadataLimit, TarError, type TarEntry } from './entry.ts';
import { parseDecimal } from './numbers.ts';
import { parsePax, parsePaxTime } from './pax.ts';
import { parseSparseList } from './sparse.ts';

/** PAX records and GNU long names that were read and wait for the member they belong to. */
export class Extensions {
  #local: [string, string][] = [];
  readonly #global = new Map<string, string>();
  #globalBytes = 0;
  #longName: string | undefined;
  #longLink: string | undefined;
  #read = false;
  #sparsePrefix = false;

  /** True between an extended header and its member. */
  get pending(): boolean {
    return this.#read;
  }

  /** True when the last member applied leads its content with a sparse map (PAX 1.0). */
  get sparsePrefix(): boolean {
    return this.#sparsePrefix;
  }

  local(content: Buffer): void {
    this.#local = parsePax(content);
    this.#read = true;
  }

  /** Defaults for all members that follow. They may not grow without bound. */
  global(content: Buffer): void {
    this.#globalBytes += content.length;
    if (this.#globalBytes > metadataLimit) throw new TarError('the global headers exceed their limit');
    for (const [key, value] of parsePax(content)) this.#global.set(key, value);
  }

  longName(content: Buffer): void {
    this.#longName = untilNul(content);
    this.#read = true;
  }

  longLink(content: Buffer): void {
    this.#longLink = untilNul(content);
    this.#read = true;
  }

  /** Puts what was gathered into `entry`. Returns the bytes its content has in the archive. */
  apply(entry: TarEntry): number {
    if (this.#longName !== undefined) entry.name = this.#longName;
    if (this.#longLink !== undefined) entry.linkName = this.#longLink;
    const records = this.#global.size === 0 ? this.#local : [...this.#global, ...this.#local];
    const sparse = new SparseRecords();
    for (const [key, value] of records) applyRecord(entry, sparse, key, value);
    this.#local = [];
    this.#longName = this.#longLink = undefined;
    this.#read = false;
    if (entry.type === 'file' && entry.name.endsWith('/')) entry.type = 'directory';
    const stored = entry.size;
    this.#sparsePrefix = sparse.applyTo(entry);
    return stored;
  }
}

function applyRecord(entry: TarEntry, sparse: SparseRecords, key: string, value: string): void {
  if (key.startsWith('GNU.sparse.')) return sparse.add(key.slice(11), value);
  if (key.startsWith('SCHILY.xattr.')) {
    entry.xattrs.set(key.slice(13), Buffer.from(value, 'latin1'));
    return;
  }
  if (key.startsWith('LIBARCHIVE.xattr.')) return applyLibarchiveXattr(entry, key.slice(17), value);
  // An empty value takes the record back: the header's own field counts.
  if (value === '') return;
  switch (key) {
    case 'path':
      entry.name = noNul(value);
      return;
    case 'linkpath':
      entry.linkName = noNul(value);
      return;
    case 'size':
      entry.size = parseDecimal(value, 'the size');
      return;
    case 'uid':
      entry.uid = parseDecimal(value, 'the user id');
      return;
    case 'gid':
      entry.gid = parseDecimal(value, 'the group id');
      return;
    case 'uname':
      entry.userName = value;
      return;
    case 'gname':
      entry.groupName = value;
      return;
    case 'mtime':
      entry.mtime = parsePaxTime(value);
      return;
    case 'SCHILY.devmajor':
      entry.devMajor = parseDecimal(value, 'the device number');
      return;
    case 'SCHILY.devminor':
      entry.devMinor = parseDecimal(value, 'the device number');
      return;
  }
}

/** bsdtar writes both forms of an xattr; this one has its key percent-encoded and its value in base 64. */
function applyLibarchiveXattr(entry: TarEntry, key: string, value: string): void {
  const decoded = key.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  if (!entry.xattrs.has(decoded)) entry.xattrs.set(decoded, Buffer.from(value, 'base64'));
}

/** https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html */
class SparseRecords {
  #map: number[] | undefined;
  #offset: number | undefined;
  #size: number | undefined;
  #name: string | undefined;
  #major = 0;

  add(key: string, value: string): void {
    switch (key) {
      case 'major':
        this.#major = parseDecimal(value, 'the sparse version');
        return;
      case 'name':
        this.#name = noNul(value);
        return;
      case 'size':
      case 'realsize':
        this.#size = parseDecimal(value, 'the size of a sparse file');
        return;
      case 'map':
        this.#map = parseSparseList(value);
        return;
      case 'numblocks':
        this.#map ??= [];
        return;
      case 'offset':
        this.#offset = parseDecimal(value, 'a sparse offset');
        return;
      case 'numbytes':
        (this.#map ??= []).push(this.#offset ?? 0, parseDecimal(value, 'a sparse length'));
        return;
    }
  }

  /** True when the map is still to come, at the head of the content. */
  applyTo(entry: TarEntry): boolean {
    if (entry.type !== 'file') return false;
    if (this.#name !== undefined) entry.name = this.#name;
    const prefixed = this.#major === 1;
    if (!prefixed && this.#map === undefined) return false;
    if (this.#size === undefined) throw new TarError('a sparse file has no size');
    entry.size = this.#size;
    if (!prefixed) entry.sparse = this.#map!;
    return prefixed;
  }
}

function untilNul(content: Buffer): string {
  const end = content.indexOf(0);
  return content.toString('latin1', 0, end < 0 ? content.length : end);
}

function noNul(value: string): string {
  if (value.includes('\0')) throw new TarError('a name contains a NUL');
  return value;
}
