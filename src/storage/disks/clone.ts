import { constants } from 'node:fs';
import { copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isIsleError, isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { Rollback } from '../../lib/rollback.ts';
import type { LinkedClone, PivotDisks } from '../disks.ts';
import { convert } from './convert.ts';
import { firstFile, makeImage } from './create.ts';
import { nextFileName, ownFileWith } from './own-files.ts';
import type { DiskFile, DiskRecord, FileReference } from './record.ts';
import type { Shelf } from './shelf.ts';
import { readQcow2Header } from './qcow2-header.ts';

/** Files that a disk may stand on: each costs every machine that reads through it. */
const maxDepth = 32;

/**
 * The present file of each source becomes a base that is only read, under an overlay of the source and one of the clone. A source
 * that has not been written since its last clone (a template) stays as it is. The locks of the sources are the caller's.
 */
export async function cloneLinked(
  shelf: Shelf,
  clones: readonly LinkedClone[],
  pivot: PivotDisks | undefined,
): Promise<DiskRecord[]> {
  const sources = [...new Set(clones.map(({ source }) => source))];
  for (const source of sources) checkSource(shelf, source);
  const bases = new Map<string, FileReference>();
  const moved: string[] = [];
  for (const source of sources) {
    const base = pivot ? undefined : await untouchedBase(shelf, source);
    bases.set(source, base ?? { disk: source, file: shelf.get(source).present });
    if (base === undefined) moved.push(source);
  }
  await moveAside(shelf, moved, pivot);
  await using undo = new Rollback();
  const made: DiskRecord[] = [];
  for (const { id, source } of clones) {
    made.push(await addOverlay(shelf, id, shelf.sizeOf(source), bases.get(source) as FileReference));
    undo.add('clone', () => shelf.drop(id));
  }
  undo.keep();
  return made;
}

function checkSource(shelf: Shelf, id: string): void {
  const record = shelf.get(id);
  if (shelf.fileOf(record, record.present).format !== 'qcow2')
    throw isleError('conflict', {
      message: `disk ${id} is raw: a linked clone needs qcow2; make a full one`,
    });
  if ([...shelf.chain(id, record.present)].length >= maxDepth)
    throw isleError('conflict', {
      message: `disk ${id} stands on ${maxDepth - 1} files already: make a full clone, and linked ones of that`,
    });
}

/** What its present file stands on, if nobody has written that since it was made. */
async function untouchedBase(shelf: Shelf, id: string): Promise<FileReference | undefined> {
  const { present, untouched, ...record } = shelf.get(id);
  const { backing } = shelf.fileOf({ ...record, present }, present);
  if (backing === undefined || untouched === undefined) return undefined;
  return (await stampOf(shelf.pathOf({ disk: id, file: present }))) === untouched ? backing : undefined;
}

async function stampOf(path: string): Promise<string> {
  const { mtimeNs, size } = await stat(path, { bigint: true });
  return `${mtimeNs}:${size}`;
}

/** From now on the sources write to new files over their present ones. */
async function moveAside(shelf: Shelf, sources: string[], pivot: PivotDisks | undefined): Promise<void> {
  if (sources.length === 0) return;
  await using undo = new Rollback();
  for (const id of sources) {
    const { present } = shelf.get(id);
    const size = shelf.sizeOf(id);
    const next: DiskFile = {
      name: nextFileName(shelf.get(id)),
      format: 'qcow2',
      backing: { disk: id, file: present },
    };
    undo.add('overlay', () => shelf.forgetFile(id, next.name));
    await makeOverlay(
      shelf,
      shelf.pathOf({ disk: id, file: next.name }),
      size,
      next.backing as FileReference,
    );
    failpoint('disk.overlay.after');
    shelf.change(id, () => ({ next }));
  }
  failpoint('disk.pivot.before');
  try {
    await pivot?.(
      sources.map((source) => {
        const { name, backing } = shelf.get(source).next as DiskFile;
        const chain = [...shelf.chain(source, (backing as FileReference).file)].map(({ disk, file }) =>
          shelf.pathOf({ disk, file: file.name }),
        );
        return { source, path: shelf.pathOf({ disk: source, file: name }), chain };
      }),
    );
  } catch (error) {
    // Only its refusal says that the machine has stayed where it was; else it may write to the overlays already.
    if (isIsleError(error, 'conflict', 'notRunning')) throw error;
    undo.keep();
    for (const id of sources) shelf.adoptNext(id);
    throw error;
  }
  undo.keep();
  for (const id of sources) {
    const { name } = shelf.adoptNext(id);
    failpoint('disk.adopt.after');
    if (!pivot) {
      const untouched = await stampOf(shelf.pathOf({ disk: id, file: name }));
      shelf.change(id, () => ({ untouched }));
    }
  }
}

function addOverlay(shelf: Shelf, id: string, size: number, base: FileReference): Promise<DiskRecord> {
  return shelf.add(id, async (directory) => {
    const file = { ...firstFile('qcow2'), backing: base };
    await makeOverlay(shelf, join(directory, file.name), size, base);
    failpoint('disk.clone.after');
    return { files: [file], present: file.name };
  });
}

function makeOverlay(shelf: Shelf, path: string, size: number, base: FileReference): Promise<void> {
  return makeImage(path, {
    size,
    format: 'qcow2',
    over: `../${base.disk}/${base.file}`,
    directory: shelf.root,
    what: 'making a linked clone',
  });
}

/** A copy that stands alone. */
export function cloneFull(shelf: Shelf, id: string, source: string, snapshot?: string): Promise<DiskRecord> {
  const record = shelf.get(source);
  const name = snapshot === undefined ? record.present : ownFileWith(shelf, record, snapshot).name;
  const { format } = shelf.fileOf(record, name);
  return shelf.add(id, async (directory) => {
    const file = firstFile(format);
    const target = join(directory, file.name);
    const from = shelf.pathOf({ disk: source, file: name });
    const alone = shelf.fileOf(record, name).backing === undefined;
    const whole =
      alone && snapshot === undefined && (format === 'raw' || readQcow2Header(from).snapshots.length === 0);
    if (!whole || record.owner !== undefined || !(await reflink(from, target)))
      await convert({
        from: { ...shelf.node(source, name), shared: snapshot !== undefined },
        to: target,
        format,
        size: shelf.sizeOf(source),
        ...(snapshot !== undefined && { snapshot }),
        directory,
        what: `copying disk ${source}`,
      });
    failpoint('disk.copy.after');
    return { files: [file], present: file.name };
  });
}

/** Shares the blocks until one of the two is written, where the file system can. */
async function reflink(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    return true;
  } catch (error) {
    if (['ENOTSUP', 'EOPNOTSUPP', 'EXDEV', 'EINVAL', 'ENOSYS', 'ENOTTY'].includes(errnoOf(error) ?? ''))
      return false;
    throw error;
  }
}
