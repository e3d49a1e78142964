import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { closeFd, O_PATH, openFileIn, openIn } from '../../host/paths.ts';
import { bounds } from './bounds.ts';
import { refusal } from './refuse.ts';

/** A file of an appliance: one of its directory, or a part of its archive. */
export interface ApplianceFile {
  name: string;
  /** bytes */
  size: number;
  /** How to open it by a path that means this very file for as long as the appliance is open; absent inside an archive. */
  path?: string;
  /** At most `length` bytes from `offset`; fewer only at its end. */
  read(offset: number, length: number): Promise<Buffer>;
}

/** Where the references of a description lead. */
export interface ApplianceSource extends AsyncDisposable {
  /** By a name relative to the description; undefined when there is none. Throws for names that lead elsewhere. */
  find(name: string): Promise<ApplianceFile | undefined>;
  /** Names in a directory; none when it is not there. */
  list?(name: string): Promise<string[]>;
}

/** The directory of a description: nothing outside of it is ever opened, whatever names and links say. */
export class ApplianceDirectory implements ApplianceSource {
  readonly #fd: number;
  readonly #open: FileHandle[] = [];
  readonly #found = new Map<string, ApplianceFile>();

  static async open(path: string): Promise<ApplianceDirectory> {
    return new ApplianceDirectory(await openIn('/', path, O_PATH | constants.O_DIRECTORY));
  }

  private constructor(fd: number) {
    this.#fd = fd;
  }

  async find(name: string): Promise<ApplianceFile | undefined> {
    const path = insideName(name);
    const known = this.#found.get(path);
    if (known) return known;
    if (this.#open.length >= bounds.files) throw refusal(name, `it names more than ${bounds.files} files`);
    try {
      const handle = await openFileIn(this.#fd, path);
      if (handle === undefined) throw refusal(name, 'it is no plain file');
      this.#open.push(handle);
      const file = await plainFile(name, handle);
      this.#found.set(path, file);
      return file;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
      if (errnoOf(error) === undefined || !/^E[A-Z]+$/.test(errnoOf(error)!)) throw error;
      throw refusal(name, messageOf(error), error);
    }
  }

  async list(name: string): Promise<string[]> {
    try {
      const directory = await openIn(this.#fd, insideName(name), constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        return (await readdir(`/proc/self/fd/${directory}`)).slice(0, bounds.files);
      } finally {
        closeFd(directory);
      }
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const handle of this.#open.splice(0)) await handle.close();
    closeFd(this.#fd);
  }
}

/** The user's own file, by the path that they gave. Its directory is the appliance's, or the one `levels` above it. */
export async function openGiven(
  path: string,
  levels = 1,
): Promise<{ file: ApplianceFile; source: ApplianceDirectory }> {
  const parts = path.split('/').filter((part) => part !== '');
  const source = await ApplianceDirectory.open(`/${parts.slice(0, -levels).join('/')}`);
  try {
    const file = await source.find(parts.slice(-levels).join('/'));
    if (file === undefined) throw refusal(path, 'there is no such file');
    return { file, source };
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

async function plainFile(name: string, handle: FileHandle): Promise<ApplianceFile> {
  const { size } = await handle.stat();
  return {
    name,
    size,
    path: `/proc/${process.pid}/fd/${handle.fd}`,
    read: (offset, length) => readAt(handle, offset, length),
  };
}

export async function readAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** As a path inside: `..` that climbs out, absolute paths, other machines' drives and NULs are refused. */
export function insideName(name: string): string {
  const path = posix.normalize(name.replaceAll('\\', '/'));
  const wrong =
    name === '' || name.length > 1024 || name.includes('\0') || path === '.' || path.endsWith('/');
  if (wrong) throw refusal(name, 'this is no name of a file');
  if (path.startsWith('/') || path === '..' || path.startsWith('../') || /^[a-zA-Z]:/.test(path))
    throw refusal(name, 'it lies outside of the directory of this machine, and nothing from there is taken');
  return path;
}

/** A description as a whole. */
export async function readAll(file: ApplianceFile, limit: number = bounds.text): Promise<Buffer> {
  if (file.size > limit)
    throw refusal(file.name, `it has ${file.size} bytes; a description has at most ${limit}`);
  return await file.read(0, file.size);
}

/** In pieces, from its beginning to its end. Throws when it has become shorter. */
export async function* pieces(
  file: ApplianceFile,
  signal?: AbortSignal,
  size = 1 << 20,
): AsyncGenerator<Buffer> {
  for (let at = 0; at < file.size; ) {
    signal?.throwIfAborted();
    const piece = await file.read(at, Math.min(size, file.size - at));
    if (piece.length === 0) throw refusal(file.name, `it ends after ${at} of its ${file.size} bytes`);
    yield piece;
    at += piece.length;
  }
}

export async function hashOf(file: ApplianceFile, algorithm: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash(algorithm);
  for await (const piece of pieces(file, signal)) hash.update(piece);
  return hash.digest('hex');
}

/** A new file for what is taken out of an archive. */
export function newFile(path: string): Promise<FileHandle> {
  return open(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | constants.O_NOFOLLOW, 0o600);
}

/**
 * A disk that a description names by its path on the old host: the file of that name beside the description. Nothing else is
 * taken, or a description could name any file of this host.
 */
export async function findBeside(
  source: ApplianceSource,
  path: string,
  description: string,
): Promise<ApplianceFile | undefined> {
  const plain = path.replaceAll('\\', '/');
  const absolute = plain.startsWith('/') || /^[a-zA-Z]:/.test(plain);
  return await source.find(posix.join(posix.dirname(description), absolute ? posix.basename(plain) : plain));
}
