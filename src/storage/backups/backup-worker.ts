import { createHash } from 'node:crypto';
import { constants, fsyncSync, readSync, writeSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { must, openFile, openTree, S_IFMT, statAt, tree } from '../../host/tree.ts';
import { serveThread } from '../../lib/threads.ts';
import { maxManifest } from './manifest.ts';
import { qcow2HeaderBytes } from './qcow2-header.ts';

/**
 * What is done with the files of a repository. Paths are below `root` and are resolved by the kernel inside it, without
 * following any link: whoever can write there must not make Isle read or write elsewhere.
 */
export type BackupJob =
  | { kind: 'list'; root: string }
  /** Makes `directory` and empty files in it. */
  | { kind: 'make'; root: string; directory: string; files: string[] }
  /** A descriptor of the directory, made when it is missing. */
  | { kind: 'directory'; root: string; path: string }
  /** A descriptor to read from, and the beginning. */
  | { kind: 'open'; root: string; path: string }
  /** Reads all of the descriptor; with `sync` it is on the disk then. */
  | { kind: 'hash'; fd: number; sync: boolean }
  | { kind: 'write'; root: string; path: string; content: string }
  /** Both inside their roots; at most `limit` bytes. */
  | { kind: 'copy'; fromRoot: string; from: string; root: string; path: string; limit: number }
  /** Within one directory, which is on the disk afterwards. */
  | { kind: 'rename'; root: string; directory: string; from: string; to: string }
  | { kind: 'remove'; root: string; directory: string; name: string };

export interface ListedBackup {
  machine: string;
  backup: string;
  /** Its manifest, or why that cannot be read. */
  text?: string;
  problem?: string;
}

/** RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS */
const beneath = 0x08 | 0x04 | 0x02;

/** Entries of one directory that are looked at. */
const mostEntries = 100_000;

const piece = 1024 * 1024;

/** Bytes between two reports of progress. */
const reportEvery = 16 * piece;

if (parentPort) serveThread<BackupJob>(parentPort, work);

async function work(
  job: BackupJob,
  onProgress: (value: unknown) => void,
  signal: AbortSignal,
): Promise<unknown> {
  switch (job.kind) {
    case 'list':
      return inTree(job.root, (root) => listBackups(root));
    case 'make':
      return inTree(job.root, (root) => makeFiles(root, job.directory, job.files));
    case 'directory':
      return inTree(job.root, (root) => madeDirectory(root, job.path));
    case 'open':
      return inTree(job.root, (root) => openBeginning(root, job.path));
    case 'hash':
      return hash(job.fd, job.sync, onProgress, signal);
    case 'write':
      return inTree(job.root, (root) => writeWhole(root, job.path, Buffer.from(job.content)));
    case 'copy':
      return inTree(job.fromRoot, (from) =>
        inTree(job.root, (root) => copyFile(from, job.from, root, job.path, job.limit)),
      );
    case 'rename':
      return inTree(job.root, (root) => renameIn(root, job.directory, job.from, job.to));
    case 'remove':
      return inTree(job.root, (root) =>
        inDirectory(
          root,
          job.directory,
          (fd) => void must(tree.treeRemove(fd, bytes(job.name)), 'remove', job.name),
        ),
      );
  }
}

function inTree<T>(root: string, work: (fd: number) => T): T {
  const fd = openTree(root);
  try {
    return work(fd);
  } finally {
    tree.treeClose(fd);
  }
}

function inDirectory<T>(root: number, path: string, work: (fd: number) => T): T {
  const fd = openDirectory(root, path);
  try {
    return work(fd);
  } finally {
    tree.treeClose(fd);
  }
}

function openDirectory(root: number, path: string): number {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY;
  return must(tree.treeOpen(root, bytes(path), flags, 0, beneath), 'open', path);
}

/** The addon's names are byte strings. */
function bytes(path: string): string {
  return Buffer.from(path, 'utf8').toString('latin1');
}

function listBackups(root: number): ListedBackup[] {
  const found: ListedBackup[] = [];
  for (const machine of directoriesIn(root, '', /^[0-9a-f]{64}$/))
    for (const backup of directoriesIn(root, machine, /^\d{8}T\d{6}Z-[0-9a-f]{8}$/))
      found.push({ machine, backup, ...manifestOf(root, `${machine}/${backup}/manifest.json`) });
  return found;
}

function directoriesIn(root: number, path: string, pattern: RegExp): string[] {
  return inDirectory(root, path, (fd) => {
    const names = tree.treeList(fd);
    if (typeof names === 'number') must(names, 'list', path);
    return (names as string[])
      .slice(0, mostEntries)
      .filter((name) => pattern.test(name) && isDirectory(fd, name))
      .sort();
  });
}

function isDirectory(fd: number, name: string): boolean {
  const stat = statAt(fd, name);
  return typeof stat !== 'number' && (stat.mode & S_IFMT) === constants.S_IFDIR;
}

function manifestOf(root: number, path: string): { text?: string; problem?: string } {
  const fd = openFile(root, path, constants.O_RDONLY, beneath);
  if (fd < 0) return { problem: fd === -2 ? 'it is missing' : 'it is not a plain file' };
  try {
    const buffer = Buffer.alloc(maxManifest + 1);
    const length = readFull(fd, buffer);
    return length > maxManifest
      ? { problem: 'it is too long' }
      : { text: buffer.toString('utf8', 0, length) };
  } catch (error) {
    return { problem: `it cannot be read: ${String(error)}` };
  } finally {
    tree.treeClose(fd);
  }
}

function readFull(fd: number, buffer: Buffer): number {
  let length = 0;
  for (;;) {
    const read = readSync(fd, buffer, length, buffer.length - length, length);
    if (read === 0) return length;
    length += read;
    if (length === buffer.length) return length;
  }
}

/** The directory of `path`, whose own directory must be there. */
function madeDirectory(root: number, path: string): number {
  return inDirectory(root, dirname(path), (parent) => {
    const made = tree.treeMkdir(parent, bytes(basename(path)), 0o700);
    if (made < 0) return openDirectory(parent, basename(path));
    fsyncSync(parent);
    return made;
  });
}

function makeFiles(root: number, directory: string, files: string[]): void {
  inDirectory(root, dirname(directory), (parent) => {
    const fd = must(tree.treeMkdir(parent, bytes(basename(directory)), 0o700), 'mkdir', directory);
    tree.treeClose(fd);
  });
  for (const file of files) tree.treeClose(createIn(root, `${directory}/${file}`));
}

/** With the one directory that may be above it. */
function createIn(root: number, path: string): number {
  tree.treeClose(madeDirectory(root, dirname(path)));
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  return must(tree.treeOpen(root, bytes(path), flags, 0o600, beneath), 'create', path);
}

function openBeginning(root: number, path: string): { fd: number; size: number; start: Uint8Array } {
  const fd = must(openFile(root, bytes(path), constants.O_RDONLY, beneath), 'open', path);
  try {
    const start = Buffer.alloc(qcow2HeaderBytes);
    const length = readFull(fd, start);
    const stat = statAt(fd, '');
    if (typeof stat === 'number') must(stat, 'stat', path);
    return { fd, size: (stat as { size: number }).size, start: new Uint8Array(start.subarray(0, length)) };
  } catch (error) {
    tree.treeClose(fd);
    throw error;
  }
}

/** Other messages are heard between two pieces: one of them may be that nobody wants it any more. */
async function hash(
  fd: number,
  sync: boolean,
  onProgress: (value: unknown) => void,
  signal: AbortSignal,
): Promise<{ bytes: number; sha256: string }> {
  const digest = createHash('sha256');
  const buffer = Buffer.allocUnsafe(piece);
  let [done, told] = [0, 0];
  for (;;) {
    const read = readSync(fd, buffer, 0, piece, done);
    if (read === 0) break;
    digest.update(buffer.subarray(0, read));
    done += read;
    if (done - told < reportEvery) continue;
    onProgress(done - told);
    told = done;
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
  }
  if (sync) fsyncSync(fd);
  onProgress(done - told);
  return { bytes: done, sha256: digest.digest('hex') };
}

function writeWhole(root: number, path: string, content: Buffer): void {
  const fd = createIn(root, path);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
    fsyncSync(fd);
  } finally {
    tree.treeClose(fd);
  }
}

function copyFile(fromRoot: number, from: string, root: number, path: string, limit: number): number {
  const source = must(openFile(fromRoot, bytes(from), constants.O_RDONLY, beneath), 'open', from);
  try {
    const target = createIn(root, path);
    try {
      const buffer = Buffer.allocUnsafe(piece);
      let done = 0;
      for (;;) {
        const read = readSync(source, buffer, 0, piece, done);
        if (read === 0) break;
        done += read;
        if (done > limit) throw new Error(`${from} is larger than ${limit} bytes`);
        for (let at = 0; at < read; ) at += writeSync(target, buffer, at, read - at);
      }
      fsyncSync(target);
      return done;
    } finally {
      tree.treeClose(target);
    }
  } finally {
    tree.treeClose(source);
  }
}

function renameIn(root: number, directory: string, from: string, to: string): void {
  inDirectory(root, directory, (fd) => {
    inDirectory(fd, from, (moved) => fsyncSync(moved));
    must(tree.treeRename(fd, bytes(from), fd, bytes(to), 0), 'rename', from);
    fsyncSync(fd);
  });
}
