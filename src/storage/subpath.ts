import { randomBytes } from 'node:crypto';
import { mkdir, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bindMount, unmount } from '../host/mount.ts';
import { closeFd, O_PATH, openIn } from '../host/paths.ts';
import { failpoint } from '../lib/failpoint.ts';
import { Rollback } from '../lib/rollback.ts';

/** The name of what is not a directory, in a place of its own. */
export const placeOfFile = 'file';

export interface Subpath extends AsyncDisposable {
  /** Leads there whatever is swapped under it meanwhile. */
  path: string;
}

/**
 * Mounts what `subpath` of the directory `root` is, resolved by the kernel inside that, below `<runRoot>/views` until it is
 * disposed of: a path into the directory itself could lead elsewhere when a mount is made of it. Throws system errors.
 */
export async function holdSubpath(root: string, subpath: string, runRoot: string): Promise<Subpath> {
  const fd = await openIn(root, subpath, O_PATH);
  try {
    const isDirectory = (await stat(`/proc/self/fd/${fd}`)).isDirectory();
    await using undo = new Rollback();
    const place = join(runRoot, 'views', randomBytes(8).toString('hex'));
    const path = isDirectory ? place : join(place, placeOfFile);
    failpoint('subpath.mount.before');
    await mkdir(place, { mode: 0o700 });
    undo.add('directory', () => rmdir(place));
    if (!isDirectory) {
      await writeFile(path, '', { mode: 0o600 });
      undo.add('file', () => unlink(path));
    }
    await bindMount('', path, { sourceFd: fd, propagation: 'private' });
    failpoint('subpath.mount.after');
    undo.keep();
    return {
      path,
      async [Symbol.asyncDispose]() {
        await unmount(path, { detach: true });
        if (!isDirectory) await unlink(path);
        await rmdir(place);
      },
    };
  } finally {
    closeFd(fd);
  }
}
