import { lstat, realpath, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream';
import { ApiError } from '../client/errors.ts';
import type { Context } from '../context.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { errnoOf } from '../../lib/errors.ts';
import { formatBytes } from '../../lib/units.ts';
import { withSpinner } from '../terminal/spinner.ts';
import {
  type CopyOptions,
  decodeStat,
  endsWithSeparator,
  isDirectory,
  isSymlink,
  meansContent,
  type PathStat,
} from './ends.ts';
import { Counter, renameFirst, startTar } from './tar.ts';

/** Copies a path here (or a tar from stdin) to a path of a container. */
export async function copyTo(
  context: Context,
  source: string,
  container: string,
  target: string,
  options: CopyOptions,
): Promise<void> {
  const there = await statThere(context, container, target);
  if (source === '-') {
    if (!there?.stat || !isDirectory(there.stat))
      throw new Failure(`destination "${container}:${target}" must be a directory`);
    await put(context, container, there.path, process.stdin, options);
    return;
  }
  const here = await statHere(source, options.followLink);
  const place = placeFor(source, here.isDirectory(), target, there);
  const counter = new Counter();
  const direct = options.followLink || meansContent(source) || endsWithSeparator(source);
  const local = resolve(direct ? await realpath(source) : source);
  const { child, done } = startTar(packing(local, place), ['ignore', 'pipe', 'pipe']);
  // An error of tar's ends the request, too: half an archive must not look like a whole one.
  pipeline(child.stdout as Readable, counter, () => {});
  done.catch((error: Error) => counter.destroy(error));
  const work = Promise.all([done, put(context, container, place.directory, counter, options)]);
  await withSpinner(context.err, `copying to ${container}:${target}`, work, 1000);
  if (!options.quiet && context.err.isTerminal)
    context.err.line(`Successfully copied ${formatBytes(counter.bytes)} to ${container}:${target}`);
}

interface Place {
  /** The directory in the container that the archive is unpacked in. */
  directory: string;
  /** The name it gets there; undefined: only the content is copied. */
  name: string | undefined;
}

interface There {
  path: string;
  stat: PathStat | undefined;
}

function placeFor(
  source: string,
  sourceIsDirectory: boolean,
  target: string,
  there: There | undefined,
): Place {
  if (there?.stat && isDirectory(there.stat)) {
    const content = sourceIsDirectory && meansContent(source);
    return { directory: there.path, name: content ? undefined : basename(resolve(source)) };
  }
  if (there?.stat) {
    if (sourceIsDirectory) throw new Failure(`cannot copy a directory to the file ${target}`);
    if (endsWithSeparator(target)) throw new Failure(`${target} is not a directory`);
  } else if (endsWithSeparator(target) && !sourceIsDirectory)
    throw new Failure('destination directory must exist in the container');
  const path = resolve('/', there?.path ?? target);
  return { directory: dirname(path), name: basename(path) };
}

function packing(local: string, { name }: Place): string[] {
  if (name === undefined) return ['-c', '-f', '-', '--numeric-owner', '-C', local, '.'];
  if (local === '/') return ['-c', '-f', '-', '--numeric-owner', '-C', '/', renameFirst(name), '.'];
  const own = basename(local);
  const rename = own === name ? [] : [renameFirst(name)];
  return ['-c', '-f', '-', '--numeric-owner', '--no-unquote', '-C', dirname(local), ...rename, '--', own];
}

/** The target as the container has it, through one symlink; undefined where there is nothing. */
async function statThere({ client }: Context, container: string, path: string): Promise<There | undefined> {
  const absolute = path.startsWith('/') ? path : `/${path}`;
  const look = async (at: string): Promise<There | undefined> => {
    try {
      const head = await client.stream('HEAD', `${containerPath(container)}/archive`, {
        query: { path: at },
      });
      head.body.resume();
      return { path: at, stat: decodeStat(head.headers['x-docker-container-path-stat']) };
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  };
  const found = await look(absolute);
  if (!found?.stat || !isSymlink(found.stat)) {
    // A HEAD has no body to say which was missing: the container itself must exist.
    if (!found) await client.get(`${containerPath(container)}/json`);
    return found;
  }
  const linked = resolve('/', dirname(absolute), found.stat.linkTarget);
  return (await look(linked)) ?? { path: linked, stat: undefined };
}

async function statHere(source: string, follow: boolean) {
  try {
    const direct = endsWithSeparator(source) || meansContent(source) || follow;
    const found = await (direct ? stat(source) : lstat(source));
    if (endsWithSeparator(source) && !found.isDirectory()) throw new Failure(`${source} is not a directory`);
    return found;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new Failure(`lstat ${source}: no such file or directory`, { cause: error });
  }
}

function put(
  { client }: Context,
  container: string,
  path: string,
  body: Readable,
  options: CopyOptions,
): Promise<void> {
  return client.json('PUT', `${containerPath(container)}/archive`, {
    query: { path, noOverwriteDirNonDir: true, copyUIDGID: options.archive || undefined },
    body,
  });
}
