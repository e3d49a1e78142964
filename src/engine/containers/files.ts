import type { Readable } from 'node:stream';
import { isleError } from '../../lib/errors.ts';
import type { ContainerRoot } from '../../storage/root-view.ts';
import type { EngineContext } from '../context.ts';
import type { PathStat } from '../engine.ts';
import type { MountSpec } from '../model.ts';
import { readGuestArchive, statGuestPath, writeGuestArchive } from '../machines/files.ts';
import { isMachine, refuseMachine } from '../machines/record.ts';
import { mountImage } from '../mounts/images.ts';
import { publishContainer } from './events.ts';
import type { ContainerRecord } from './record.ts';

export async function statPath(ctx: EngineContext, reference: string, path: string): Promise<PathStat> {
  const record = ctx.records.find(reference);
  if (isMachine(record)) return await statGuestPath(ctx, record, path);
  return await ctx.roots.use(record.id, async (root) =>
    ctx.files.stat(await rootOf(ctx, record, root), path),
  );
}

export async function readArchive(
  ctx: EngineContext,
  reference: string,
  path: string,
): Promise<{ stat: PathStat; tar: Readable }> {
  const record = ctx.records.find(reference);
  if (isMachine(record)) return await readGuestArchive(ctx, record, path);
  const archive = await ctx.roots.stream(
    record.id,
    async (root) => ctx.files.read(await rootOf(ctx, record, root), path),
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
  if (isMachine(record)) return await writeGuestArchive(ctx, record, path, tar, options);
  const mount = mountAt(record, path);
  if (mount ? mount.readOnly : record.spec.readonlyRootfs)
    throw isleError('readOnlyPath', { what: mount ? 'volume' : 'container rootfs' });
  const { user } = record.process;
  await ctx.roots.use(record.id, async (root) =>
    ctx.files.write(await rootOf(ctx, record, root), path, tar, { ...options, user }),
  );
  publishContainer(ctx, record, 'extract-to-dir');
}

export async function exportContainer(ctx: EngineContext, reference: string): Promise<Readable> {
  const record = ctx.records.find(reference);
  refuseMachine(record, 'export', 'which goes into a file for elsewhere by "isle vm export"');
  const tar = await ctx.roots.stream(
    record.id,
    (root) => ctx.files.export(root, record.idMap),
    (stream) => stream,
  );
  publishContainer(ctx, record, 'export');
  return tar;
}

/** Running or not, a container is its root with the volumes, binds and images of its record, as Docker copies it. */
async function rootOf(ctx: EngineContext, record: ContainerRecord, root: string): Promise<ContainerRoot> {
  const mounts: ContainerRoot['mounts'] = [];
  for (const mount of record.mountSpecs) {
    const { type, subpath, target, readOnly } = mount;
    if (type === 'tmpfs') continue;
    mounts.push({
      source: await sourceOf(ctx, record, mount),
      subpath,
      target,
      readOnly,
      mapped: type === 'image',
    });
  }
  mounts.sort((a, b) => a.target.length - b.target.length);
  const { name, idMap, spec } = record;
  return { container: name, root, readOnly: spec.readonlyRootfs, idMap, mounts };
}

async function sourceOf(ctx: EngineContext, record: ContainerRecord, mount: MountSpec): Promise<string> {
  if (mount.type === 'image') return await mountImage(ctx, record, mount);
  return mount.type === 'volume' ? ctx.volumes.get(mount.source).mountpoint : mount.source;
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
