import { randomBytes } from 'node:crypto';
import { link, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoOf, isleError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { Rollback } from '../../lib/rollback.ts';
import { explainFull } from '../disk-full.ts';
import type { ExportOptions, ForeignFormat } from '../disks.ts';
import { convert } from './convert.ts';
import { syncDirectory } from './record.ts';
import type { Shelf } from './shelf.ts';

/** Made beside the target, which appears when it is whole; never over something that is there. */
export async function exportDisk(
  shelf: Shelf,
  id: string,
  target: string,
  options: ExportOptions,
): Promise<void> {
  const { format, onProgress, signal } = options;
  const { present } = shelf.get(id);
  const size = shelf.sizeOf(id);
  if (options.streamOptimized && format !== 'vmdk')
    throw isleError('invalidParameter', { message: `streamOptimized is a kind of vmdk, not of ${format}` });
  if (options.compress && format !== 'qcow2')
    throw isleError('invalidParameter', {
      message: `${format} cannot be compressed: qcow2 and streamOptimized vmdk can`,
    });
  const directory = dirname(target);
  const making = join(directory, `.${basename(target)}.${randomBytes(6).toString('hex')}`);
  await using undo = new Rollback();
  undo.add('file', () => rm(making, { force: true }));
  try {
    failpoint('disk.export.before');
    await convert({
      from: shelf.node(id, present),
      to: making,
      format,
      options: kindOf(format, options),
      compress: options.compress === true,
      size,
      directory,
      what: `exporting disk ${id}`,
      ...(onProgress && { onProgress }),
      ...(signal && { signal }),
    });
    failpoint('disk.export.made');
    await link(making, target);
    syncDirectory(directory);
  } catch (error) {
    throw explain(error, target);
  }
}

function kindOf(format: ForeignFormat, { streamOptimized }: ExportOptions): string[] {
  if (format === 'vmdk')
    return [`subformat=${streamOptimized ? 'streamOptimized' : 'monolithicSparse'}`, 'adapter_type=lsilogic'];
  // Else the size is rounded to what its geometry can say, and the guest's last sectors are lost or made up.
  if (format === 'vpc') return ['subformat=dynamic', 'force_size=on'];
  return [];
}

function explain(error: unknown, target: string): unknown {
  const code = errnoOf(error);
  if (code === 'EEXIST')
    return isleError(
      'conflict',
      { message: `${target} is there already: remove it or take another name` },
      error,
    );
  if (code !== undefined && ['ENOENT', 'ENOTDIR', 'EACCES', 'EROFS', 'ENAMETOOLONG', 'EPERM'].includes(code))
    return isleError('invalidParameter', { message: `cannot write ${target}: ${messageOf(error)}` }, error);
  return explainFull(error, dirname(target), `writing ${target}`);
}
