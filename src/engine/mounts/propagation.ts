import { readFile, realpath } from 'node:fs/promises';
import { isleError } from '../../lib/errors.ts';
import type { MountSpec } from '../model.ts';

/** A shared or slave bind needs a source mount that takes part. Throws `invalidParameter` in Docker's words. */
export async function checkPropagation({ source, propagation }: MountSpec): Promise<void> {
  if (propagation === undefined || propagation.endsWith('private')) return;
  const mount = mountOf(await readFile('/proc/self/mountinfo', 'utf8'), await realpath(source));
  const shared = mount.tags.some((tag) => tag.startsWith('shared:'));
  const slave = mount.tags.some((tag) => tag.startsWith('master:'));
  const wantsShared = propagation.endsWith('shared');
  if (shared || (slave && !wantsShared)) return;
  const kind = wantsShared ? 'a shared' : 'a shared or slave';
  throw isleError('invalidParameter', {
    message: `path ${source} is mounted on ${mount.point} but it is not ${kind} mount (try: mount --make-shared ${mount.point})`,
  });
}

/** The mount that `path` lies on: the longest mount point that holds it, the last one of several on one point. */
export function mountOf(mountinfo: string, path: string): { point: string; tags: string[] } {
  let best = { point: '/', tags: [] as string[] };
  for (const line of mountinfo.split('\n')) {
    const fields = line.split(' ');
    const point = unescapePath(fields[4] ?? '');
    const holds = point !== '' && (path === point || path.startsWith(point === '/' ? '/' : `${point}/`));
    if (holds && point.length >= best.point.length)
      best = { point, tags: fields.slice(6, fields.indexOf('-')) };
  }
  return best;
}

/** The kernel writes blanks, tabs, newlines and backslashes of paths as octal. */
function unescapePath(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
