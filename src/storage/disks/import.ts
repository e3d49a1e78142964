import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { ImportOptions } from '../disks.ts';
import { firstFile } from './create.ts';
import { convert } from './convert.ts';
import { checkDigest, parseDigest } from './digest.ts';
import { openForeign } from './inspect/inspect.ts';
import { checkDiskSize } from './names.ts';
import type { DiskRecord } from './record.ts';
import { resizeImage } from './resize.ts';
import type { Shelf } from './shelf.ts';

/** Converts straight from the user's file; bytes that come are spooled first, since most formats are read back and forth. */
export async function importDisk(shelf: Shelf, id: string, options: ImportOptions): Promise<DiskRecord> {
  const { format, keep = 'qcow2', signal } = options;
  const digest = options.digest === undefined ? undefined : parseDigest(options.digest);
  const wanted = options.size === undefined ? undefined : checkDiskSize(options.size);
  const file = firstFile(keep);
  return shelf.add(id, async (directory) => {
    const source =
      typeof options.source === 'string'
        ? options.source
        : await spool(options.source, join(directory, 'source'), signal);
    await using image = await openForeign(source, format, options.chain);
    if (wanted !== undefined && wanted < image.size)
      throw isleError('invalidParameter', {
        message: `a disk of ${wanted} bytes is too small for the image, whose guest sees ${image.size}`,
      });
    const target = join(directory, file.name);
    const ended = new AbortController();
    const together = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
    const checked = digest && checkDigest(image.node.path, digest, together);
    // A wrong digest ends the conversion at once.
    checked?.catch((error: unknown) => ended.abort(error));
    try {
      await convert({
        from: image.node,
        further: image.extents,
        to: target,
        format: keep,
        size: image.size,
        directory,
        what: `importing disk ${id}`,
        onProgress: options.onProgress,
        signal: together,
      });
      await checked;
    } finally {
      ended.abort();
      await checked?.catch(() => undefined);
    }
    failpoint('disk.import.after');
    const size = checkDiskSize(Math.max(wanted ?? 0, image.size));
    if (size !== image.size)
      await resizeImage({ driver: keep, path: target }, size, { directory, what: `growing disk ${id}` });
    if (typeof options.source !== 'string') await rm(source);
    return { files: [file], present: file.name };
  });
}

async function spool(source: AsyncIterable<Uint8Array>, path: string, signal?: AbortSignal): Promise<string> {
  await pipeline(source, createWriteStream(path, { flags: 'wx', mode: 0o600 }), { signal });
  return path;
}
