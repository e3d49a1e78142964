import type { Readable } from 'node:stream';
import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { PathStat } from '../engine.ts';
import { publishContainer } from './events.ts';
import type { ContainerRecord } from './record.ts';
import { isRunning } from './records.ts';

export async function statPath(ctx: EngineContext, reference: string, path: string): Promise<PathStat> {
  const record = ctx.records.find(reference);
  const place = placeOf(ctx, record, path);
  if (place) return await ctx.files.stat(place.root, place.path);
  return await ctx.roots.use(record.id, (root) => ctx.files.stat(root, path));
}

export async function readArchive(
  ctx: EngineContext,
  reference: string,
  path: string,
): Promise<{ stat: PathStat; tar: Readable }> {
  const record = ctx.records.find(reference);
  const place = placeOf(ctx, record, path);
  const archive = place
    ? await ctx.files.read(place.root, place.path)
    : await ctx.roots.stream(
        record.id,
        (root) => ctx.files.read(root, path),
        ({ tar }) => tar,
      );
  publishContainer(ctx, record, 'archive-path');
  return archive;
}

export async function writeArchive(
  ctx: EngineContext,
  reference: string,
  path: string,
  tar: Readable,
  options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
): Promise<void> {
  const record = ctx.records.find(reference);
  const mount = mountAt(record, path);
  if (mount ? mount.readOnly : record.spec.readonlyRootfs)
    throw isleError('readOnlyPath', { what: mount ? 'volume' : 'container rootfs' });
  const place = placeOf(ctx, record, path);
  if (place) await ctx.files.write(place.root, place.path, tar, options);
  else await ctx.roots.use(record.id, (root) => ctx.files.write(root, path, tar, options));
  publishContainer(ctx, record, 'extract-to-dir');
}

export async function exportContainer(ctx: EngineContext, reference: string): Promise<Readable> {
  const record = ctx.records.find(reference);
  const tar = await ctx.roots.stream(
    record.id,
    (root) => ctx.files.export(root),
    (stream) => stream,
  );
  publishContainer(ctx, record, 'export');
  return tar;
}

/** A directory to resolve a path in, and the path in it. */
interface Place {
  root: string;
  path: string;
}

/**
 * While it runs, a container's own view is used (`/proc/<pid>/root`): volumes and what it mounted itself are in it.
 * In a stopped one, volumes are looked up by their targets. Undefined: the path lies in its root file system.
 */
function placeOf(ctx: EngineContext, record: ContainerRecord, path: string): Place | undefined {
  if (isRunning(record.state)) return { root: `/proc/${record.state.pid}/root`, path };
  const mount = mountAt(record, path);
  if (!mount || mount.type === 'tmpfs') return undefined;
  const root = mount.type === 'volume' ? ctx.volumes.get(mount.source).mountpoint : mount.source;
  return { root, path: normal(path).slice(mount.target.length) || '/' };
}

/** The innermost mount that holds `path`. */
function mountAt(record: ContainerRecord, path: string): ContainerRecord['mountSpecs'][number] | undefined {
  const clean = normal(path);
  return record.mountSpecs
    .filter(({ target }) => clean === target || clean.startsWith(`${target}/`))
    .sort((a, b) => b.target.length - a.target.length)[0];
}

/** `/a/../b//c/` → `/b/c`; a trailing `/.` keeps its meaning to the archive code through `path` itself. */
function normal(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const clean = `/${parts.join('/')}`;
  return clean;
}
