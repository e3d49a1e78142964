import { chmod, lstat, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
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
  permissions,
} from './ends.ts';
import { Counter, startTar } from './tar.ts';

/** Copies a path of a container to a path here (or as a tar to stdout). */
export async function copyFrom(
  context: Context,
  container: string,
  path: string,
  target: string,
  options: CopyOptions,
): Promise<void> {
  const { client, err, out } = context;
  const archive = `${containerPath(container)}/archive`;
  const source = options.followLink ? await followLink(context, archive, path) : path;
  const response = await client.stream('GET', archive, { query: { path: source } });
  const status = decodeStat(response.headers['x-docker-container-path-stat']);
  if (target === '-') return pipeline(response.body, out.stream, { end: false });
  if (!status) throw new Failure('the engine did not say what it sent');
  const counter = new Counter();
  const place = await placeFor(target, path, status);
  const work = isDirectory(status)
    ? unpackDirectory(response.body, counter, place, permissions(status), options)
    : unpackFile(response.body, counter, place, options);
  await withSpinner(err, `copying ${container}:${path}`, work, 1000);
  if (!options.quiet && err.isTerminal)
    err.line(`Successfully copied ${formatBytes(counter.bytes)} to ${resolve(target)}`);
}

/** What a link in the container points to; the path itself when it is none, or is not there (the copy says so). */
async function followLink({ client }: Context, archive: string, path: string): Promise<string> {
  try {
    const head = await client.stream('HEAD', archive, { query: { path } });
    head.body.resume();
    const status = decodeStat(head.headers['x-docker-container-path-stat']);
    return status && isSymlink(status) ? resolve('/', dirname(path), status.linkTarget) : path;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return path;
    throw error;
  }
}

/** Where exactly the file or directory goes, by the rules of `docker cp`. */
async function placeFor(target: string, asked: string, status: PathStat): Promise<string> {
  const exists = await statOrUndefined(target);
  if (exists?.isDirectory()) {
    if (isDirectory(status) && meansContent(asked)) return target;
    return join(target, basename(resolve('/', asked)) || '.');
  }
  if (exists) {
    if (isDirectory(status)) throw new Failure('cannot copy directory to a file');
    if (endsWithSeparator(target)) throw new Failure(`${target} is not a directory`);
    return target;
  }
  if (endsWithSeparator(target) && !isDirectory(status))
    throw new Failure('destination directory must exist', { hint: `mkdir -p ${target}` });
  const parent = await statOrUndefined(dirname(target.replace(/\/+$/, '')));
  if (!parent?.isDirectory())
    throw new Failure(`invalid output path: directory "${dirname(resolve(target))}" does not exist`);
  return target;
}

async function statOrUndefined(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

async function unpackDirectory(
  source: Readable,
  counter: Counter,
  place: string,
  mode: number,
  options: CopyOptions,
): Promise<void> {
  let fresh = true;
  try {
    await mkdir(place);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    if (!(await lstat(place)).isDirectory()) throw new Failure(`cannot copy a directory over ${place}`);
    fresh = false;
  }
  await unpack(source, counter, place, options, ['--strip-components=1']);
  if (fresh) await chmod(place, mode);
}

/** Unpacked beside its place and moved there, as its name in the archive is not the name it gets. */
async function unpackFile(
  source: Readable,
  counter: Counter,
  place: string,
  options: CopyOptions,
): Promise<void> {
  const temporary = await mkdtemp(join(dirname(resolve(place)), '.isle-cp-'));
  try {
    await unpack(source, counter, temporary, options, []);
    const [entry, ...more] = await readdir(temporary);
    if (entry === undefined || more.length > 0)
      throw new Failure('the engine sent something else than one file');
    await rename(join(temporary, entry), place);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function unpack(
  source: Readable,
  counter: Counter,
  directory: string,
  options: CopyOptions,
  more: readonly string[],
): Promise<void> {
  const owner = options.archive ? ['--same-owner', '--numeric-owner'] : ['--no-same-owner'];
  const args = ['-x', '-f', '-', '-p', '-C', directory, '--no-overwrite-dir', ...owner, ...more];
  const { child, done } = startTar(args, ['pipe', 'ignore', 'pipe']);
  const [piped, ended] = await Promise.allSettled([pipeline(source, counter, child.stdin as Writable), done]);
  if (ended.status === 'rejected') throw ended.reason;
  // tar closes its input at the archive's end mark; what follows it is padding.
  if (piped.status === 'rejected' && errnoOf(piped.reason) !== 'EPIPE') throw piped.reason;
}
