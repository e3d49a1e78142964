import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlockCopy, BlockDisk, DirtyBitmap } from '../../../engine/machine.ts';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isIsleError, isleError, messageOf } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import { Rollback } from '../../../lib/rollback.ts';

/** Whoever has a machine's disks open: its QEMU, or a storage daemon. */
export interface BlockHost {
  qmp: Qmp;
  /** By which path it sees a file of the host, which it may write from now on. */
  open(file: string): Promise<string>;
  close(file: string): Promise<void>;
  /** Freezes the guest's file systems until disposed of. Throws `guestAgentMissing`. */
  freeze(): Promise<AsyncDisposable>;
}

/** Names in QEMU: the jobs and nodes of a copy, and the bitmaps of backups. */
const names = {
  job: (target: string) => `backup-${target}`,
  image: (target: string) => `backup-${target}`,
  file: (target: string) => `backup-file-${target}`,
  isOurs: (name: string) => /^backup-/.test(name),
};
const bitmapPrefix = 'isle-backup-';

/** Milliseconds for what waits for requests that are under way. */
const patience = 120_000;

/** Bytes: of both the disk's bitmap and the copy's clusters, so that no cluster is ever written in part. */
const granularity = 65_536;

/** Bytes of the target's file system that stay free: where it ran full, the guest's own writes would have to wait. */
const reserve = 64 * 1024 * 1024;

/** What a QEMU says of its disks; no more believable than that. */
export async function blockDisks(qmp: Qmp): Promise<BlockDisk[]> {
  const nodes = await qmp.execute<BlockNode[]>('query-named-block-nodes', { flat: true }, { patience });
  return nodes.flatMap((node) => {
    const name = String(node['node-name']);
    const target = name === 'nvram' ? name : /^disk-([a-z][a-z0-9]*)$/.exec(name)?.[1];
    if (target === undefined) return [];
    return [
      {
        target,
        size: Number(node.image['virtual-size']),
        allocated: Number(node.image['actual-size'] ?? 0),
        bitmaps: (node['dirty-bitmaps'] ?? []).flatMap(bitmapOf),
      },
    ];
  });
}

interface BlockNode {
  'node-name': string;
  image: { 'virtual-size': number; 'actual-size'?: number };
  'dirty-bitmaps'?: Bitmap[];
}

interface Bitmap {
  name: string;
  recording: boolean;
  busy: boolean;
  inconsistent?: boolean;
  count: number;
}

function bitmapOf({ name, recording, busy, inconsistent, count }: Bitmap): DirtyBitmap[] {
  if (!String(name).startsWith(bitmapPrefix)) return [];
  const whole = recording === true && busy === false && inconsistent !== true;
  return [{ name: String(name).slice(bitmapPrefix.length), whole, changed: Number(count) }];
}

export async function removeBitmaps(qmp: Qmp, unwanted: readonly string[]): Promise<void> {
  for (const { target, bitmaps } of await blockDisks(qmp))
    for (const { name } of bitmaps.filter((bitmap) => unwanted.includes(bitmap.name))) {
      const bitmap = { node: nodeOf(target), name: bitmapPrefix + name };
      await qmp.execute('block-dirty-bitmap-remove', bitmap, { patience });
    }
}

/**
 * One transaction begins a bitmap and a copy of every disk, so that all of them are of one moment and what is written from then on
 * is in the next increment. Either all copies are whole and the bitmaps stay, or nothing is left. Throws `diskFull`.
 */
export async function copyBlocks(host: BlockHost, options: BlockCopy): Promise<{ heldMs: number }> {
  const { qmp } = host;
  const { disks, next, onProgress, signal } = options;
  await using undo = new Rollback();
  undo.add('guest', () => goOnAfterFull(qmp));
  undo.add('bitmaps', () => removeBitmaps(qmp, [next]));
  failpoint('machine.backup.images.before');
  await using images = new Rollback();
  for (const disk of disks) await openImage(host, disk, images);
  failpoint('machine.backup.images.after');
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  let heldMs = 0;
  const begin = once(async () => {
    heldMs = await transaction(host, options);
    failpoint('machine.backup.jobs.begun');
  });
  const progress = new Map<string, [number, number]>();
  const copies = disks.map(({ target }) =>
    qmp.job(names.job(target), begin, {
      signal: either,
      onProgress(done, total) {
        progress.set(target, [done, total]);
        onProgress(sum(progress, 0), sum(progress, 1));
      },
    }),
  );
  for (const copy of copies) copy.catch((error: unknown) => stop.abort(error));
  const watch = watchSpace(
    disks.map(({ file }) => dirname(file)),
    stop,
  );
  try {
    await Promise.all(copies);
  } catch (error) {
    await Promise.allSettled(copies);
    await cancelJobs(qmp);
    signal.throwIfAborted();
    throw explain(stop.signal.aborted ? stop.signal.reason : error, disks);
  } finally {
    clearInterval(watch);
  }
  failpoint('machine.backup.jobs.ended');
  undo.keep();
  return { heldMs };
}

/** Ends what a daemon that died left. */
export async function abandonCopy(qmp: Qmp): Promise<void> {
  await cancelJobs(qmp);
  const nodes = await qmp.execute<BlockNode[]>('query-named-block-nodes', { flat: true }, { patience });
  const ours = nodes.map((node) => String(node['node-name'])).filter(names.isOurs);
  // An image before the file that it lies in.
  ours.sort(
    (one, other) => Number(one.startsWith('backup-file-')) - Number(other.startsWith('backup-file-')),
  );
  for (const name of ours) await qmp.execute('blockdev-del', { 'node-name': name }, { patience });
  await goOnAfterFull(qmp);
}

function nodeOf(target: string): string {
  return target === 'nvram' ? target : `disk-${target}`;
}

async function openImage(host: BlockHost, disk: BlockCopy['disks'][number], undo: Rollback): Promise<void> {
  const { qmp } = host;
  const { target, file, size, since } = disk;
  const filename = await host.open(file);
  undo.add('file', () => host.close(file));
  const [fileNode, node] = [names.file(target), names.image(target)];
  await qmp.execute('blockdev-add', { 'node-name': fileNode, driver: 'file', filename });
  undo.add('file node', () => qmp.execute('blockdev-del', { 'node-name': fileNode }, { patience }));
  const job = `backup-create-${target}`;
  const backing = since && { 'backing-file': since.backing, 'backing-fmt': 'qcow2' };
  const create = { driver: 'qcow2', file: fileNode, size, 'cluster-size': granularity, ...backing };
  await qmp.job(job, () => qmp.execute('blockdev-create', { 'job-id': job, options: create }));
  // Every cluster that is written is written whole: what it stands on need not be read, nor be there.
  const image = { 'node-name': node, driver: 'qcow2', file: fileNode, backing: null, discard: 'unmap' };
  await qmp.execute('blockdev-add', image);
  undo.add('image node', () => qmp.execute('blockdev-del', { 'node-name': node }, { patience }));
}

/** For how many milliseconds the guest's file systems, or at least its disks, were held. */
async function transaction(host: BlockHost, { disks, next, quiesce }: BlockCopy): Promise<number> {
  const actions = disks.flatMap(({ target, since, track }) => [
    ...(track
      ? [
          {
            type: 'block-dirty-bitmap-add',
            data: { node: nodeOf(target), name: bitmapPrefix + next, persistent: true, granularity },
          },
        ]
      : []),
    {
      type: 'blockdev-backup',
      data: {
        'job-id': names.job(target),
        device: nodeOf(target),
        target: names.image(target),
        'auto-dismiss': false,
        ...(since
          ? { sync: 'bitmap', bitmap: bitmapPrefix + since.bitmap, 'bitmap-mode': 'never' }
          : { sync: 'full' }),
      },
    },
  ]);
  const started = performance.now();
  {
    await using _frozen = quiesce ? await host.freeze() : undefined;
    await host.qmp.execute('transaction', { actions }, { patience });
  }
  return performance.now() - started;
}

async function cancelJobs(qmp: Qmp): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const jobs = await qmp.execute<{ id: string; status: string }[]>('query-jobs', undefined, { patience });
    const ours = jobs.filter(({ id }) => names.isOurs(String(id)));
    if (ours.length === 0) return;
    for (const { id, status } of ours) {
      const command = status === 'concluded' ? 'job-dismiss' : 'job-cancel';
      // It may have moved on meanwhile.
      await qmp.execute(command, { id }, { patience }).catch((error: unknown) => {
        if (!isIsleError(error, 'guestFailed')) throw error;
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw isleError('guestUnresponsive', { what: 'the end of copies of its disks', waited: 60_000 });
}

/**
 * While a cluster is copied that the guest wants to write, the guest waits; where there was no space for the copy, QEMU has
 * stopped it. With the copy gone there is nothing to wait for.
 */
async function goOnAfterFull(qmp: Qmp): Promise<void> {
  const status = await qmp.execute<{ status: string }>('query-status').catch(() => undefined);
  if (status?.status === 'io-error') await qmp.execute('cont', undefined, { patience });
}

function watchSpace(directories: string[], stop: AbortController): NodeJS.Timeout {
  const [path] = directories;
  const look = async (): Promise<void> => {
    if (path === undefined) return;
    const { bavail, bsize } = await statfs(path);
    if (bavail * bsize < reserve)
      stop.abort(isleError('diskFull', { path, what: "copying a machine's disks" }));
  };
  return setInterval(() => void look().catch(() => undefined), 250);
}

function explain(error: unknown, disks: BlockCopy['disks']): unknown {
  if (!isIsleError(error, 'guestFailed') || !/No space left|quota exceeded/i.test(messageOf(error)))
    return error;
  return isleError(
    'diskFull',
    { path: dirname(disks[0]?.file ?? ''), what: "copying a machine's disks" },
    error,
  );
}

function once(work: () => Promise<void>): () => Promise<void> {
  let begun: Promise<void> | undefined;
  return () => (begun ??= work());
}

function sum(progress: Map<string, [number, number]>, at: 0 | 1): number {
  return [...progress.values()].reduce((all, one) => all + one[at], 0);
}
