import { join } from 'node:path';
import { runConfined } from '../../host/confined.ts';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { Rollback } from '../../lib/rollback.ts';
import { explainFull } from '../disk-full.ts';
import { checkSnapshotName } from './names.ts';
import { hiddenName, nextFileName, ownFileWith, snapshotsIn, snapshotsOf, tidyFiles } from './own-files.ts';
import { fileSizeOf, type ImageNode, nameImage, qemuImg } from './qemu-img.ts';
import type { DiskFile } from './record.ts';
import type { Shelf } from './shelf.ts';
import { open } from 'node:fs/promises';

export async function takeSnapshot(shelf: Shelf, id: string, name: string): Promise<void> {
  const record = shelf.get(id);
  checkSnapshotName(name);
  if (shelf.fileOf(record, record.present).format !== 'qcow2')
    throw isleError('conflict', { message: `disk ${id} is raw: snapshots need qcow2` });
  if (snapshotsOf(shelf, record).includes(name))
    throw isleError('conflict', { message: `disk ${id} has a snapshot "${name}" already` });
  failpoint('disk.snapshot.before');
  await snapshot(shelf, ['-c', name], shelf.node(id, record.present, true), shelf.sizeOf(id));
  failpoint('disk.snapshot.after');
}

/** A snapshot in a file that others stand on, or that is not the present one: a copy of the file goes back to it. */
export async function revertSnapshot(shelf: Shelf, id: string, name: string): Promise<void> {
  const record = shelf.get(id);
  const file = ownFileWith(shelf, record, name);
  if (file.name === record.present && shelf.standingOn(id, file.name).length === 0) {
    failpoint('disk.revert.before');
    await snapshot(shelf, ['-a', name], shelf.node(id, file.name, true), shelf.sizeOf(id));
    failpoint('disk.revert.after');
    return;
  }
  await using undo = new Rollback();
  const copy: DiskFile = { ...file, name: nextFileName(record) };
  undo.add('copy', () => shelf.forgetFile(id, copy.name));
  const path = join(shelf.directory(id), copy.name);
  await copyFile(shelf, shelf.pathOf({ disk: id, file: file.name }), path, shelf.sizeOf(id));
  const node: ImageNode = { ...shelf.node(id, file.name), path, write: true };
  await snapshot(shelf, ['-a', name], node, shelf.sizeOf(id));
  failpoint('disk.revert.copied');
  shelf.change(id, ({ files, hidden }) => ({
    files: [...files, copy],
    present: copy.name,
    hidden: [
      ...hidden,
      ...hidden
        .filter((one) => one.startsWith(`${file.name}:`))
        .map((one) => one.replace(file.name, copy.name)),
    ],
  }));
  undo.keep();
  failpoint('disk.revert.switched');
  await tidyFiles(shelf, id);
}

/** From a file that others stand on it is only taken off the list. */
export async function removeSnapshot(shelf: Shelf, id: string, name: string): Promise<void> {
  const record = shelf.get(id);
  ownFileWith(shelf, record, name);
  for (const file of record.files.filter((one) => snapshotsIn(shelf, record, one).includes(name))) {
    if (shelf.standingOn(id, file.name).length > 0) {
      shelf.change(id, ({ hidden }) => ({ hidden: [...hidden, hiddenName(file.name, name)] }));
      continue;
    }
    failpoint('disk.unsnapshot.before');
    await snapshot(shelf, ['-d', name], shelf.node(id, file.name, true), shelf.sizeOf(id));
    failpoint('disk.unsnapshot.after');
  }
  await tidyFiles(shelf, id);
}

async function snapshot(shelf: Shelf, args: string[], node: ImageNode, size: number): Promise<void> {
  const { argument, files } = nameImage(node);
  await qemuImg(['snapshot', '-q', ...args, argument], {
    files,
    // A snapshot may keep everything that the disk had, and its machine's memory.
    fileSize: Number.MAX_SAFE_INTEGER,
    what: `working on a snapshot of a disk of ${fileSizeOf(size, 'qcow2')} bytes`,
    writesTo: shelf.root,
    cpu: 3600,
    patience: 3600_000,
  });
}

/** Holes stay holes; shared blocks where the file system can. */
async function copyFile(shelf: Shelf, from: string, to: string, size: number): Promise<void> {
  await using target = await open(to, 'wx', 0o600);
  const result = await runConfined('cp', ['--sparse=always', '--reflink=auto', '/disk/from', '/disk/to'], {
    files: [
      { path: from, inside: '/disk/from' },
      { path: to, inside: '/disk/to', write: true },
    ],
    fileSize: Number.MAX_SAFE_INTEGER,
    cpu: 3600 + Math.ceil(size / 1024 ** 2),
    patience: 24 * 3600_000,
  });
  if (/No space left/.test(result.stderr))
    throw explainFull(
      Object.assign(new Error(result.stderr), { code: 'ENOSPC' }),
      shelf.root,
      'copying a disk',
    );
  if (result.code !== 0)
    throw isleError('hostTool', { tool: 'cp', message: result.stderr.trim().slice(-300) });
  await target.sync();
}
