/**
 * One member of a tar archive. Names, link targets and owner names are byte strings (latin1: one character is one
 * byte), because a tar need not be UTF-8; `textOf` and `bytesOf` convert.
 */
export interface TarEntry {
  type: TarType;
  name: string;
  /** Target of a symlink, or the member a hard link repeats. */
  linkName: string;
  /** Permission bits, setuid, setgid and sticky: the low 12 bits. */
  mode: number;
  uid: number;
  gid: number;
  userName: string;
  groupName: string;
  /** Bytes of the file once extracted; 0 for what has no content. */
  size: number;
  mtime: TarTime;
  devMajor: number;
  devMinor: number;
  xattrs: Map<string, Buffer>;
  /** The parts of a sparse file that have data, ascending: offset, length, offset, length, … */
  sparse?: number[];
}

/** A file with nothing in it, to be changed by who writes one. */
export const emptyEntry: TarEntry = {
  type: 'file',
  name: '',
  linkName: '',
  mode: 0o644,
  uid: 0,
  gid: 0,
  userName: '',
  groupName: '',
  size: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  devMajor: 0,
  devMinor: 0,
  xattrs: new Map(),
};

export type TarType = 'file' | 'directory' | 'symlink' | 'link' | 'char' | 'block' | 'fifo';

/** Seconds since 1970 (may be negative) and nanoseconds (0 to 999,999,999). */
export interface TarTime {
  seconds: number;
  nanoseconds: number;
}

/** An archive that is not one, breaks a rule, or exceeds a bound. */
export class TarError extends Error {
  override name = 'TarError';
}

export const blockSize = 512;

/** Bytes of one PAX header, GNU long name or sparse map: more is an attack, not an archive. */
export const metadataLimit = 1 << 20;

export function textOf(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

export function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
