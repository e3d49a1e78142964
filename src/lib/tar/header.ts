import { blockSize, TarError, type TarEntry, type TarType } from './entry.ts';
import { formatOctal, parseNumber } from './numbers.ts';

/** A header block as it stands, before PAX and GNU extensions are applied. */
export interface RawHeader {
  flag: string;
  entry: TarEntry;
  /** GNU magic: no prefix field, atime and sparse fields in its place. */
  gnu: boolean;
}

/** Undefined for a block of zeros. Throws when the checksum or a field is wrong. */
export function parseHeader(block: Buffer): RawHeader | undefined {
  if (!checkSum(block)) return undefined;
  const magic = block.toString('latin1', 257, 265);
  const gnu = magic === 'ustar  \0';
  const ustar = magic.startsWith('ustar');
  const prefix = ustar && !gnu ? text(block, 345, 155) : '';
  const name = text(block, 0, 100);
  const flag = String.fromCharCode(block[156]!);
  return {
    flag,
    gnu,
    entry: {
      type: typeOf(flag, name),
      name: prefix === '' ? name : `${prefix}/${name}`,
      linkName: text(block, 157, 100),
      mode: parseNumber(block, 100, 8, 'the mode') & 0o7777,
      uid: parseNumber(block, 108, 8, 'the user id'),
      gid: parseNumber(block, 116, 8, 'the group id'),
      size: parseNumber(block, 124, 12, 'the size'),
      mtime: { seconds: parseNumber(block, 136, 12, 'the time', true), nanoseconds: 0 },
      userName: ustar ? text(block, 265, 32) : '',
      groupName: ustar ? text(block, 297, 32) : '',
      devMajor: ustar ? parseNumber(block, 329, 8, 'the device number') : 0,
      devMinor: ustar ? parseNumber(block, 337, 8, 'the device number') : 0,
      xattrs: new Map(),
    },
  };
}

const types: Record<string, TarType> = {
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
  D: 'directory',
};

const flags: Record<TarType, string> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/** Version 7 tars mark a directory by its trailing slash alone. */
function typeOf(flag: string, name: string): TarType {
  return types[flag] ?? ((flag === '0' || flag === '\0') && name.endsWith('/') ? 'directory' : 'file');
}

function text(block: Buffer, start: number, length: number): string {
  const value = block.toString('latin1', start, start + length);
  const end = value.indexOf('\0');
  return end < 0 ? value : value.slice(0, end);
}

/** False for an all-zero block. Some old writers summed signed bytes: both sums are accepted. */
function checkSum(block: Buffer): boolean {
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < blockSize; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : block[i]!;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  if (unsigned === 8 * 0x20 && block.every((byte) => byte === 0)) return false;
  const expected = parseNumber(block, 148, 8, 'the checksum');
  if (expected !== unsigned && expected !== signed) throw new TarError('a header has a wrong checksum');
  return true;
}

/**
 * Writes the ustar block of `entry`. Returns the names of the fields that did not fit and must go into a PAX header
 * before it: `path`, `linkpath`, `size`, `uid`, `gid`, `mtime`.
 */
export function formatHeader(
  block: Buffer,
  entry: TarEntry,
  storedSize: number,
  flag = flags[entry.type],
): string[] {
  const overflow: string[] = [];
  const put = (fits: boolean, field: string): void => {
    if (!fits) overflow.push(field);
  };
  block.fill(0, 0, blockSize);
  put(putName(block, entry.name), 'path');
  put(entry.linkName.length <= 100, 'linkpath');
  block.write(entry.linkName.slice(0, 100), 157, 'latin1');
  formatOctal(block, 100, 8, entry.mode & 0o7777);
  put(formatOctal(block, 108, 8, entry.uid), 'uid');
  put(formatOctal(block, 116, 8, entry.gid), 'gid');
  put(formatOctal(block, 124, 12, storedSize), 'size');
  put(formatOctal(block, 136, 12, entry.mtime.seconds) && entry.mtime.nanoseconds === 0, 'mtime');
  block.write(flag, 156, 'latin1');
  block.write('ustar\u000000', 257, 'latin1');
  block.write(entry.userName.slice(0, 31), 265, 'latin1');
  block.write(entry.groupName.slice(0, 31), 297, 'latin1');
  if (!formatOctal(block, 329, 8, entry.devMajor) || !formatOctal(block, 337, 8, entry.devMinor)) {
    throw new TarError('a device number is out of range');
  }
  block.write('        ', 148, 'latin1');
  let sum = 0;
  for (let i = 0; i < blockSize; i++) sum += block[i]!;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return overflow;
}

/** ustar splits a long name at a slash: up to 155 bytes before it, up to 100 after. Bytes above 127 need PAX. */
function putName(block: Buffer, name: string): boolean {
  // oxlint-disable-next-line no-control-regex
  const plain = /^[\x01-\x7f]*$/.test(name);
  if (name.length <= 100) {
    block.write(name, 0, 'latin1');
    return plain;
  }
  const slash = name.lastIndexOf('/', Math.min(155, name.length - 2));
  if (slash > 0 && name.length - slash - 1 <= 100) {
    block.write(name.slice(slash + 1), 0, 'latin1');
    block.write(name.slice(0, slash), 345, 'latin1');
    return plain;
  }
  block.write(name.slice(0, 100), 0, 'latin1');
  return false;
}
