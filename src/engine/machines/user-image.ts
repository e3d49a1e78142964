import { open } from 'node:fs/promises';
import { isleError } from '../../lib/errors.ts';
import type { DiskFormat } from '../../storage/disks.ts';
import { openForeign } from '../../storage/disks/inspect/inspect.ts';
import { looksLike } from '../../storage/disks/inspect/signature.ts';

/** What people take for raw by mistake: a guest would see the container instead of what is in it. */
const formats = new Set(['qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels', 'QED']);

/**
 * A file of the user's that a machine shall use where it is: refused when it is not of the format that was said, stands on
 * other files, or is damaged. Once, when it is given: later its guest may write into it what it likes. Throws `invalidDisk`.
 */
export async function checkUserImage(path: string, format: DiskFormat): Promise<void> {
  await using file = await open(path, 'r');
  const found = await file.stat();
  // A device's content is nobody's format but raw.
  if (!found.isFile()) return;
  if (format === 'qcow2') {
    await using _image = await openForeign(path, format);
    return;
  }
  const looks = found.size === 0 ? 'an empty file' : await looksLike(file, found.size);
  if (looks !== undefined && (formats.has(looks) || found.size === 0))
    throw isleError('invalidDisk', {
      why: `"${path}" is said to be raw, but looks like ${looks}: say its format, or have a copy of it made (--import, or isle vm import)`,
    });
}
