import { parentPort, type MessagePort } from 'node:worker_threads';
import type { IdMap } from '../engine/runtime.ts';
import { TarPacker } from '../host/tar/pack.ts';
import { TreeWalker } from '../host/tar/walk.ts';
import { exchange, openTree, tree } from '../host/tree.ts';
import { copyEarly, copyTree, finishCopy } from '../host/tree-copy.ts';
import { serveThread } from '../lib/threads.ts';
import { ThreadReceiver, ThreadSender } from '../lib/thread-streams.ts';
import { extractInto, makePlace, ownersOf, packPath, statPath, type ExtractRequest } from './copy-paths.ts';
import { fillDirectory } from './fill.ts';
import { dressImplied } from './implied.ts';
import { layerChanges, layerEntry } from './diff.ts';
import { renewIdentity } from './renew-identity.ts';
import { textOf, type TarEntry } from '../lib/tar/entry.ts';

export type StorageJob =
  | { kind: 'changes'; upper: string; lowers: string[] }
  | { kind: 'layerTar'; upper: string; lowers: string[]; port: MessagePort }
  | { kind: 'export'; root: string; idMap: IdMap | undefined; port: MessagePort }
  | { kind: 'stat'; root: string; path: string }
  | { kind: 'pack'; root: string; path: string; idMap: IdMap | undefined; port: MessagePort }
  | { kind: 'extract'; request: ExtractRequest; port: MessagePort }
  | { kind: 'dressImplied'; upper: string; lowers: string[]; paths: string[] }
  | { kind: 'makePlace'; root: string; path: string; directory: boolean; idMap: IdMap | undefined }
  | { kind: 'fill'; root: string; path: string; target: string }
  | { kind: 'copyTree'; from: string; to: string }
  | { kind: 'copyInTwo'; from: string; to: string; port: MessagePort }
  | { kind: 'exchange'; one: string; other: string }
  | { kind: 'renewIdentity'; upper: string };

if (parentPort) serveThread<StorageJob>(parentPort, work);

async function work(job: StorageJob, onProgress: (value: unknown) => void): Promise<unknown> {
  switch (job.kind) {
    case 'changes':
      return layerChanges(job.upper, job.lowers).map(({ path, kind }) => ({ path: textOf(path), kind }));
    case 'layerTar':
      return sending(job.port, (sender) => sendLayer(job.upper, job.lowers, sender));
    case 'export':
      return sending(job.port, (sender) => sendTree(job.root, job.idMap, sender));
    case 'stat':
      return statPath(job.root, job.path);
    case 'pack':
      return sending(job.port, (sender) => packPath(job.root, job.path, job.idMap, sender, onProgress));
    case 'extract':
      return extractInto(job.request, new ThreadReceiver(job.port));
    case 'dressImplied':
      return dressImplied(job.upper, job.lowers, job.paths);
    case 'makePlace':
      return makePlace(job.root, job.path, job.directory, job.idMap);
    case 'fill':
      return fillDirectory(job.root, job.path, job.target);
    case 'copyTree':
      return copyTree(job.from, job.to);
    case 'copyInTwo':
      return copyEarlyAndFinish(job.from, job.to, job.port, onProgress);
    case 'exchange':
      return exchange(job.one, job.other);
    case 'renewIdentity':
      return renewIdentity(job.upper);
  }
}

/** The port brings the time for the second part (see `finishCopy`); closed without it, there is none. */
async function copyEarlyAndFinish(
  from: string,
  to: string,
  port: MessagePort,
  onProgress: (value: unknown) => void,
): Promise<void> {
  const asked = new Promise<number | undefined>((resolve) => {
    port.once('message', (unchanged: number) => resolve(unchanged));
    port.once('close', () => resolve(undefined));
  });
  try {
    const early = copyEarly(from, to);
    onProgress('early');
    const unchanged = await asked;
    if (unchanged !== undefined) finishCopy(from, to, early, unchanged);
  } finally {
    port.close();
  }
}

/** The port of a failed sender is closed, so that its receiver fails too. */
async function sending(port: MessagePort, send: (sender: ThreadSender) => Promise<void>): Promise<void> {
  const sender = new ThreadSender(port);
  try {
    await send(sender);
  } catch (error) {
    sender.close();
    throw error;
  }
}

async function sendTree(root: string, idMap: IdMap | undefined, sender: ThreadSender): Promise<void> {
  const fd = openTree(root);
  try {
    const packer = new TarPacker(sender);
    for (const step of new TreeWalker({ oneFilesystem: true, owners: ownersOf(idMap) }).walk(fd, '', '')) {
      // `docker export` has no member for the root itself.
      if (step.kind === 'entry' && step.entry.name === '') continue;
      await packer.step(step);
    }
    await packer.end();
  } finally {
    tree.treeClose(fd);
  }
}

/** The changed members of an upper directory and the directories they lie in, with whiteouts as image layers have them. */
async function sendLayer(upper: string, lowers: string[], sender: ThreadSender): Promise<void> {
  const wanted = withParents(layerChanges(upper, lowers).map(({ path }) => path.slice(1)));
  const fd = openTree(upper);
  try {
    const packer = new TarPacker(sender);
    let skipping = false;
    for (const step of new TreeWalker({ overlayXattrs: true }).walk(fd, '', '')) {
      if (step.kind !== 'entry') {
        if (!skipping) await packer.step(step);
        continue;
      }
      const { entry } = step;
      skipping = !wanted.has(entry.name);
      if (skipping) continue;
      const opaque = entry.xattrs.get('trusted.overlay.opaque')?.toString('latin1') === 'y';
      for (const key of entry.xattrs.keys()) if (key.includes('.overlay.')) entry.xattrs.delete(key);
      await packer.entry(layerEntry(entry) ?? entry);
      if (opaque) await packer.entry(opaqueMark(entry.name, entry.mtime.seconds));
    }
    await packer.end();
  } finally {
    tree.treeClose(fd);
  }
}

function withParents(paths: string[]): Set<string> {
  const all = new Set(paths);
  for (const path of paths) {
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1))
      all.add(path.slice(0, at));
  }
  return all;
}

function opaqueMark(directory: string, seconds: number): TarEntry {
  return {
    type: 'file',
    name: `${directory}/.wh..wh..opq`,
    linkName: '',
    mode: 0,
    uid: 0,
    gid: 0,
    userName: '',
    groupName: '',
    size: 0,
    mtime: { seconds, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: new Map(),
  };
}
