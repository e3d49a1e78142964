import { isUtf8 } from 'node:buffer';
import { blockSize, metadataLimit, TarError, type TarEntry } from './entry.ts';
import { formatHeader } from './header.ts';
import { formatPax, formatPaxTime } from './pax.ts';
import { checkSparse, sparseLength } from './sparse.ts';

/**
 * The bytes that lead the content of `entry`: a ustar block, and before it a PAX header when something does not fit
 * (long or non-ASCII names, big numbers, fractions of a second, xattrs) or the file is sparse (PAX 1.0). After it come
 * `storedSize(entry)` bytes of content and `padding` of that.
 */
export function tarHeader(entry: TarEntry): Buffer {
  if (entry.sparse) return sparseHeader(entry, checkSparse(entry.sparse, entry.size));
  return withPax(entry, entry.type === 'file' ? entry.size : 0, []);
}

/** Bytes of content that follow the header: for a sparse file those of its segments. */
export function storedSize(entry: TarEntry): number {
  if (entry.type !== 'file') return 0;
  return entry.sparse ? sparseLength(entry.sparse) : entry.size;
}

/** Zeros that fill the last block of a content of `size` bytes. */
export function padding(size: number): Buffer {
  return zeros.subarray(0, (blockSize - (size % blockSize)) % blockSize);
}

/** What closes an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * blockSize);
}

const zeros = Buffer.alloc(blockSize);

function withPax(entry: TarEntry, stored: number, extra: [string, string | Buffer][]): Buffer {
  const name = entry.type === 'directory' && !entry.name.endsWith('/') ? `${entry.name}/` : entry.name;
  const named = name === entry.name ? entry : { ...entry, name };
  const block = Buffer.allocUnsafe(blockSize);
  const overflow = formatHeader(block, named, stored);
  const records: [string, string | Buffer][] = overflow.map((field) => [
    field,
    fieldText(named, stored, field),
  ]);
  // PAX names are UTF-8 unless this says that they are just bytes; libarchive refuses them otherwise.
  const names = [entry.name, entry.linkName, ...extra.map(([, value]) => value.toString())];
  if (names.some((text) => !isUtf8(Buffer.from(text, 'latin1')))) records.unshift(['hdrcharset', 'BINARY']);
  for (const [key, value] of entry.xattrs) {
    if (key.includes('=')) throw new TarError('an extended attribute has a "=" in its name');
    records.push([`SCHILY.xattr.${key}`, value]);
  }
  records.push(...extra);
  if (records.length === 0) return block;
  const pax = formatPax(records);
  if (pax.length > metadataLimit) throw new TarError('the extended attributes exceed their limit');
  const paxBlock = Buffer.allocUnsafe(blockSize);
  const shadow: TarEntry = { ...entry, ...paxFields, name: `PaxHeaders.0/${baseName(entry.name)}` };
  formatHeader(paxBlock, shadow, pax.length, 'x');
  return Buffer.concat([paxBlock, pax, padding(pax.length), block]);
}

const paxFields = {
  type: 'file',
  linkName: '',
  mode: 0o644,
  uid: 0,
  gid: 0,
  userName: '',
  groupName: '',
  mtime: { seconds: 0, nanoseconds: 0 },
  devMajor: 0,
  devMinor: 0,
} as const;

function baseName(name: string): string {
  return (name.replace(/\/+$/, '').split('/').pop() ?? '').slice(0, 80);
}

function fieldText(entry: TarEntry, stored: number, field: string): string {
  switch (field) {
    case 'path':
      return entry.name;
    case 'linkpath':
      return entry.linkName;
    case 'size':
      return String(stored);
    case 'mtime':
      return formatPaxTime(entry.mtime);
    default:
      return String(field === 'uid' ? entry.uid : entry.gid);
  }
}

function sparseHeader(entry: TarEntry, map: number[]): Buffer {
  // GNU tar sets the size of the file by a last, empty segment.
  const ended = (map.at(-2) ?? 0) + (map.at(-1) ?? 0) === entry.size ? map : [...map, entry.size, 0];
  const lines = [ended.length / 2, ...ended].join('\n');
  const prefix = Buffer.from(`${lines}\n`, 'latin1');
  const padded = Buffer.concat([prefix, padding(prefix.length)]);
  const header = withPax(
    { ...entry, name: `GNUSparseFile.0/${baseName(entry.name)}` },
    padded.length + sparseLength(map),
    [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', entry.name],
      ['GNU.sparse.realsize', String(entry.size)],
    ],
  );
  return Buffer.concat([header, padded]);
}
