import type { Readable } from 'node:stream';
import { isleError } from '../../lib/errors.ts';
import type { ContainerRoot } from '../../storage/root-view.ts';
import type { EngineContext } from '../context.ts';
import type { PathStat } from '../engine.ts';
import { publishContainer } from './events.ts';
import type { ContainerRecord } from './record.ts';

export async function statPath(ctx: EngineContext, reference: string, path: string): Promise<PathStat> {
  const record = ctx.records.find(reference);
  return await ctx.roots.use(record.id, (root) => ctx.files.stat(rootOf(ctx, record, root), path));
}

export async function readArchive(
  ctx: EngineContext,
  reference: string,
  path: string,
): Promise<{ stat: PathStat; tar: Readable }> {
  const record = ctx.records.find(reference);
  const archive = await ctx.roots.stream(
    record.id,
    (root) => ctx.files.read(rootOf(ctx, record, root), path),
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
  const { user } = record.process;
  await ctx.roots.use(record.id, (root) =>
    ctx.files.write(rootOf(ctx, record, root), path, tar, { ...options, user }),
  );
  publishContainer(ctx, record, 'extract-to-dir');
}

export async function exportContainer(ctx: EngineContext, reference: string): Promise<Readable> {
  const record = ctx.records.find(reference);
  const tar = await ctx.roots.stream(
    record.id,
    (root) => ctx.files.export(root, record.idMap),
    (stream) => stream,
  );
  publishContainer(ctx, record, 'export');
  return tar;
}

/** Running or not, a container is its root with the volumes and binds of its record, as Docker copies it. */
function rootOf(ctx: EngineContext, record: ContainerRecord, root: string): ContainerRoot {
  const mounts = record.mountSpecs
    .filter(({ type }) => type !== 'tmpfs')
    .map(({ type, source, subpath, target, readOnly }) => ({
      source: type === 'volume' ? ctx.volumes.get(source).mountpoint : source,
      subpath,
      target,
      readOnly,
    }))
    .sort((a, b) => a.target.length - b.target.length);
  const { name, idMap, spec } = record;
  return { container: name, root, readOnly: spec.readonlyRootfs, idMap, mounts };
}

/** The innermost mount that holds `path`. */
function mountAt(record: ContainerRecord, path: string): ContainerRecord['mountSpecs'][number] | undefined {
  const clean = normal(path);
  return record.mountSpecs
    .filter(({ target }) => clean === target || clean.startsWith(`${target}/`))
    .sort((a, b) => b.target.length - a.target.length)[0];
}

/** `/a/../b//c/` → `/b/c` */
function normal(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}
