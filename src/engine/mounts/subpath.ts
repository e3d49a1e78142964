import { errnoOf, isleError, messageOf } from '../../lib/errors.ts';

/**
 * A path that leads to `subpath` of the directory `root` whatever is swapped under it meanwhile: the kernel resolves
 * it inside the root, and the opened directory is named by its descriptor. `close` when the mount is made.
 */
export async function openSubpath(root: string, subpath: string): Promise<{ path: string; close(): void }> {
  const { closeFd, openIn, O_PATH } = await import('../../host/paths.ts');
  try {
    if (subpath.startsWith('/') || subpath.split('/').includes('..'))
      throw new Error('must stay inside the volume');
    const fd = await openIn(root, subpath, O_PATH);
    return { path: `/proc/${process.pid}/fd/${fd}`, close: () => closeFd(fd) };
  } catch (error) {
    const why = errnoOf(error) === 'ENOENT' ? 'no such file or directory in the volume' : messageOf(error);
    const message = `cannot access path ${subpath} of volume mounted from ${root}: ${why}`;
    throw isleError('invalidParameter', { message }, error);
  }
}
