import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { failpoint } from '../../lib/failpoint.ts';
import type { DiskFormat } from '../disks.ts';
import { checkDiskSize } from './names.ts';
import { fileSizeOf, qemuImg } from './qemu-img.ts';
import type { DiskFile, DiskRecord } from './record.ts';
import type { Shelf } from './shelf.ts';

/** What a disk's first file is called. */
export function firstFile(format: DiskFormat): DiskFile {
  return { name: format === 'qcow2' ? 'disk.qcow2' : 'disk.raw', format };
}

export function createDisk(
  shelf: Shelf,
  id: string,
  options: { size: number; format: DiskFormat; preallocate?: boolean },
): Promise<DiskRecord> {
  const size = checkDiskSize(options.size);
  const file = firstFile(options.format);
  return shelf.add(id, async (directory) => {
    const path = join(directory, file.name);
    await makeImage(path, { ...options, size, directory, what: `creating disk ${id}` });
    failpoint('disk.create.after');
    return { files: [file], present: file.name };
  });
}

/** An empty image; with `over` an overlay: what is written in it about that file is for people, nothing follows it. */
export async function makeImage(
  path: string,
  options: {
    size: number;
    format: DiskFormat;
    preallocate?: boolean;
    over?: string;
    directory: string;
    what: string;
  },
): Promise<void> {
  const { size, format, preallocate, over } = options;
  await using file = await open(path, 'wx', 0o600);
  await qemuImg(
    [
      'create',
      '-q',
      '-f',
      format,
      ...(preallocate ? ['-o', 'preallocation=falloc'] : []),
      ...(over === undefined ? [] : ['-u', '-b', over, '-F', 'qcow2']),
      '/disk/new',
      `${size}`,
    ],
    {
      files: [{ path, inside: '/disk/new', write: true }],
      fileSize: fileSizeOf(size, format),
      writesTo: options.directory,
      what: options.what,
    },
  );
  await file.sync();
}
