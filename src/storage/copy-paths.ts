import { constants } from 'node:fs';
import type { IdMap } from '../engine/runtime.ts';
import { Directories, splitPath } from '../host/tar/directories.ts';
import { cleanPath } from '../host/tar/names.ts';
import { TarExtractor } from '../host/tar/extract.ts';
import { TarPacker } from '../host/tar/pack.ts';
import { Owners } from '../host/tar/owners.ts';
import { TreeWalker } from '../host/tar/walk.ts';
import { actingAs, inRoot, must, O_PATH, openTree, statAt, tree, treeError } from '../host/tree.ts';
import { decompressed } from '../lib/decompress.ts';
import { bytesOf, textOf } from '../lib/tar/entry.ts';
import { TarReader } from '../lib/tar/reader.ts';
import type { ThreadSender } from '../lib/thread-streams.ts';
import { resolveLink } from './resolve-link.ts';
import { lookUpUser } from './users.ts';

/** As the API's `PathStat`. */
export interface FoundPath {
  name: string;
  size: number;
  /** Go's os.FileMode bits. */
  mode: number;
  mtime: string;
  linkTarget: string;
}

export interface ExtractRequest {
  root: string;
  path: string;
  noOverwriteDirNonDir: boolean;
  /** Everything belongs to this `user[:group]`, looked up in the root. */
  owner?: string;
  /** The root is mounted for a user namespace with this map; the archive has the owners inside. */
  idMap?: IdMap;
}

/** Throws the system error (ENOENT, ENOTDIR, …) when nothing is there. */
export function statPath(root: string, path: string): FoundPath {
  const rootFd = openTree(root);
  try {
    using place = new Place(rootFd, path);
    return place.found();
  } finally {
    tree.treeClose(rootFd);
  }
}

/** Sends `path` as a tar, its members named after the last part of `path` (`/a/b/.` gives `./…`), as Docker does. */
export async function packPath(
  root: string,
  path: string,
  idMap: IdMap | undefined,
  sender: ThreadSender,
  onFound: (found: FoundPath) => void,
): Promise<void> {
  const rootFd = openTree(root);
  try {
    using place = new Place(rootFd, path);
    onFound(place.found());
    const packer = new TarPacker(sender);
    for (const step of new TreeWalker({ owners: ownersOf(idMap) }).walk(
      place.parent,
      place.base,
      place.memberName,
    ))
      await packer.step(step);
    await packer.end();
  } finally {
    tree.treeClose(rootFd);
  }
}

/** Extracts a tar (gzip, zstd or plain) into the directory `path`; a final symlink is followed inside the root. */
export async function extractInto(request: ExtractRequest, source: AsyncIterable<Buffer>): Promise<void> {
  await actingAs(request.idMap, () => extractAll(request, source));
}

async function extractAll(request: ExtractRequest, source: AsyncIterable<Buffer>): Promise<void> {
  const root = openTree(request.root);
  try {
    using extractor = new TarExtractor(root, {
      whiteouts: false,
      keepKinds: request.noOverwriteDirNonDir,
      owner: request.owner ? lookUpUser(root, request.owner) : undefined,
      owners: ownersOf(request.idMap),
      base: bytesOf(request.path),
    });
    const reader = new TarReader(extractor);
    for await (const piece of decompressed(source)) reader.push(piece);
    reader.end();
    extractor.finish();
  } finally {
    tree.treeClose(root);
  }
}

/** An empty directory or file for a mount, with the directories above it, inside the root. */
export function makePlace(root: string, path: string, directory: boolean, idMap: IdMap | undefined): void {
  actingAs(idMap, () => makeEmpty(root, path, directory));
}

export function ownersOf(idMap: IdMap | undefined): Owners | undefined {
  return idMap && new Owners(idMap);
}

function makeEmpty(root: string, path: string, directory: boolean): void {
  const rootFd = openTree(root);
  try {
    using directories = new Directories(rootFd, '', () => undefined);
    const clean = cleanPath(bytesOf(path));
    if (directory) return void directories.get(clean);
    const [parent, name] = splitPath(clean);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
    const fd = tree.treeOpen(directories.get(parent), name, flags, 0o644, 0);
    tree.treeClose(must(fd, 'open', clean));
  } finally {
    tree.treeClose(rootFd);
  }
}

/**
 * Where a path leads: the directory it lies in, resolved by the kernel inside the root, and its last part. A trailing
 * slash or `/.` asks for what a final symlink leads to; then `base` is '' and the directory is that itself.
 */
class Place implements Disposable {
  readonly parent: number;
  readonly base: string;
  readonly memberName: string;
  readonly #root: number;
  readonly #path: string;

  constructor(root: number, path: string) {
    this.#root = root;
    this.#path = bytesOf(path);
    const parts = this.#path.split('/');
    const last = parts.at(-1) ?? '';
    const whole = last === '' || last === '.' || last === '..';
    const directory = whole ? this.#path : parts.slice(0, -1).join('/');
    this.base = whole ? '' : last;
    this.memberName = memberName(parts);
    const flags = constants.O_RDONLY | constants.O_DIRECTORY;
    this.parent = must(tree.treeOpen(root, directory || '/', flags, 0, inRoot), 'open', this.#path);
  }

  found(): FoundPath {
    const fd = tree.treeOpen(this.parent, this.base, O_PATH | constants.O_NOFOLLOW, 0, 0);
    must(fd, 'lstat', this.#path);
    try {
      const stat = statAt(fd, '');
      if (typeof stat === 'number') throw treeError(stat, 'lstat', this.#path);
      const link = (stat.mode & constants.S_IFMT) === constants.S_IFLNK;
      return {
        name: textOf(this.memberName === '' ? '/' : this.memberName),
        size: stat.size,
        mode: goFileMode(stat.mode),
        mtime: timeText(stat.seconds, stat.nanoseconds),
        linkTarget: link ? textOf(resolveLink(this.#root, this.#path)) : '',
      };
    } finally {
      tree.treeClose(fd);
    }
  }

  [Symbol.dispose](): void {
    tree.treeClose(this.parent);
  }
}

/** Go's filepath.Base of what the client wrote; the members of `/` itself are named from it, as Docker does. */
function memberName(parts: string[]): string {
  if (parts.at(-1) === '.') return '.';
  const named = parts.filter((part) => part !== '' && part !== '.');
  const last = named.at(-1) ?? '/';
  return last === '..' ? '.' : last;
}

/** https://pkg.go.dev/io/fs#FileMode */
export function goFileMode(mode: number): number {
  let result = (mode & 0o777) + (goTypes[mode & constants.S_IFMT] ?? 2 ** 19);
  if (mode & 0o4000) result += 2 ** 23;
  if (mode & 0o2000) result += 2 ** 22;
  if (mode & 0o1000) result += 2 ** 20;
  return result;
}

/** Directory, symlink, device, named pipe, socket, character device (with device), irregular. */
const goTypes: Record<number, number> = {
  [constants.S_IFREG]: 0,
  [constants.S_IFDIR]: 2 ** 31,
  [constants.S_IFLNK]: 2 ** 27,
  [constants.S_IFBLK]: 2 ** 26,
  [constants.S_IFIFO]: 2 ** 25,
  [constants.S_IFSOCK]: 2 ** 24,
  [constants.S_IFCHR]: 2 ** 26 + 2 ** 21,
};

function timeText(seconds: number, nanoseconds: number): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  return nanoseconds === 0
    ? `${whole}Z`
    : `${whole}.${String(nanoseconds).padStart(9, '0').replace(/0+$/, '')}Z`;
}
