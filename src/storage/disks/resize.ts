import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { checkDiskSize } from './names.ts';
import { fileSizeOf, type ImageNode, nameImage, qemuImg } from './qemu-img.ts';
import type { Shelf } from './shelf.ts';
import { readQcow2Header } from './qcow2-header.ts';

/** Gives the image another virtual size. */
export async function resizeImage(
  node: ImageNode,
  size: number,
  options: { shrink?: boolean; directory: string; what: string },
): Promise<void> {
  const { argument, files } = nameImage({ ...node, write: true });
  await qemuImg(['resize', '-q', ...(options.shrink ? ['--shrink'] : []), argument, `${size}`], {
    files,
    fileSize: fileSizeOf(size, node.driver) + 1024 ** 3,
    writesTo: options.directory,
    what: options.what,
  });
}

export async function resizeDisk(shelf: Shelf, id: string, wanted: number, shrink: boolean): Promise<void> {
  const record = shelf.get(id);
  const size = checkDiskSize(wanted);
  const before = shelf.sizeOf(id);
  if (size === before) return;
  const file = shelf.fileOf(record, record.present);
  if (size < before) {
    if (!shrink)
      throw isleError('invalidParameter', {
        message: `disk ${id} has ${before} bytes: making it smaller (${size}) cuts off what the guest has there; say so with --shrink`,
      });
    if (
      file.format === 'qcow2' &&
      readQcow2Header(shelf.pathOf({ disk: id, file: file.name })).snapshots.length > 0
    )
      throw isleError('conflict', {
        message: `disk ${id} has snapshots: remove them before it is made smaller`,
      });
  }
  failpoint('disk.resize.before');
  await resizeImage(shelf.node(id, record.present), size, {
    shrink: size < before,
    directory: shelf.root,
    what: `resizing disk ${id}`,
  });
  failpoint('disk.resize.after');
}
