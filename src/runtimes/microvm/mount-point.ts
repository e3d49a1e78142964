import { constants, readlinkSync, realpathSync } from 'node:fs';
import { posix } from 'node:path';
import type { IdMap } from '../../engine/runtime.ts';
import { closeFd, O_PATH, openIn } from '../../host/paths.ts';
import { actingAs, must, tree } from '../../host/tree.ts';
import { errnoOf } from '../../lib/errors.ts';
import { systemError } from '../../host/system-error.ts';

/** As many links as the kernel follows. */
const maxLinks = 40;

/**
 * An open descriptor (O_PATH) of `path` inside `root`, which is made with its parents when it is missing: also where a
 * link of the image points to nothing. It never leaves the root. What is made belongs to the root of `map`.
 */
export async function openOrMake(
  root: string,
  path: string,
  directory: boolean,
  map: IdMap | undefined,
  links = 0,
): Promise<number> {
  try {
    return await openIn(root, path, O_PATH);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  if (links > maxLinks) throw systemError('ELOOP', path);
  const clean = posix.normalize(path).replace(/(.)\/+$/, '$1');
  const parent = await openOrMake(root, posix.dirname(clean), true, map, links);
  try {
    const name = posix.basename(clean);
    if (makeEntry(parent, name, directory, map)) return await openIn(root, clean, O_PATH);
    const target = linkOf(parent, name);
    if (target === undefined) return await openIn(root, clean, O_PATH);
    return await openOrMake(root, posix.resolve(inside(root, parent), target), directory, map, links + 1);
  } finally {
    closeFd(parent);
  }
}

/**
 * Through the parent's descriptor: no link on the way to it can be changed any more. On this thread, since who acts as
 * another user does that on one thread: a moment's work. False when something is there already.
 */
function makeEntry(parent: number, name: string, directory: boolean, map: IdMap | undefined): boolean {
  // As the tree's calls take names.
  const bytes = Buffer.from(name, 'utf8').toString('latin1');
  const made = actingAs(map, () =>
    directory
      ? tree.treeMkdir(parent, bytes, 0o755)
      : tree.treeOpen(parent, bytes, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644, 0),
  );
  if (made === EEXIST) return false;
  tree.treeClose(must(made, directory ? 'mkdir' : 'open', bytes));
  return true;
}

const EEXIST = -17;

/** Undefined when it is no link. */
function linkOf(parent: number, name: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${parent}/${name}`);
  } catch (error) {
    if (errnoOf(error) === 'EINVAL' || errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Where an open directory lies inside the root, by the names the kernel has for both. */
function inside(root: string, directory: number): string {
  const path = readlinkSync(`/proc/self/fd/${directory}`);
  const base = realpathSync(root);
  if (path === base) return '/';
  if (!path.startsWith(`${base}/`)) throw systemError('ENOENT', path);
  return path.slice(base.length);
}
