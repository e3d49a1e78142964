import { mkdir, stat } from 'node:fs/promises';
import { errnoOf, isleError, messageOf } from '../../lib/errors.ts';
import type { ContainerRecord } from '../containers/record.ts';
import type { EngineContext } from '../context.ts';
import type { MountSpec } from '../model.ts';
import { inParallel } from '../parallel.ts';
import type { WorkloadMount } from '../runtime.ts';
import { mountImage } from './images.ts';
import { checkPropagation } from './propagation.ts';

export interface PreparedMounts {
  mounts: WorkloadMount[];
  /** Lets go of what was held open for the runtime: call when it has made the mounts. */
  close(): Promise<void>;
}

/** The mounts of a container for its runtime, outer directories first. Throws `invalidParameter` naming the source. */
export async function prepareMounts(ctx: EngineContext, record: ContainerRecord): Promise<PreparedMounts> {
  await ctx.volumes.mountFor(record);
  const held: AsyncDisposable[] = [];
  const close = async () => {
    await Promise.all(held.splice(0).map((each) => each[Symbol.asyncDispose]()));
  };
  try {
    const mounts = await inParallel<WorkloadMount[]>(
      ...record.mountSpecs.map((mount) => prepare(ctx, record, mount, held)),
    );
    return { mounts: mounts.sort((a, b) => depth(a.target) - depth(b.target)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function prepare(
  ctx: EngineContext,
  record: ContainerRecord,
  mount: MountSpec,
  held: AsyncDisposable[],
): Promise<WorkloadMount> {
  const { target, readOnly } = mount;
  switch (mount.type) {
    case 'tmpfs':
      return { type: 'tmpfs', source: 'tmpfs', target, readOnly, options: tmpfsOptions(mount) };
    case 'volume':
      return { ...bindOf(mount), source: await volumeSource(ctx, mount, held) };
    case 'image': {
      const source = await subpathOf(ctx, await mountImage(ctx, record, mount), mount, held);
      return { ...bindOf(mount), source, owners: 'host' };
    }
    case 'bind':
      await checkBindSource(mount);
      await checkPropagation(mount);
      return bindOf(mount);
  }
}

function bindOf(mount: MountSpec): WorkloadMount {
  return {
    type: 'bind',
    source: mount.source,
    target: mount.target,
    readOnly: mount.readOnly,
    recursiveReadOnly: mount.readOnly && !mount.readOnlyNonRecursive,
    nonRecursive: mount.nonRecursive,
    propagation: mount.propagation ?? 'rprivate',
  };
}

async function volumeSource(ctx: EngineContext, mount: MountSpec, held: AsyncDisposable[]): Promise<string> {
  const { mountpoint, options } = ctx.volumes.get(mount.source);
  await ctx.volumeFiles.mount(mount.source, options);
  return await subpathOf(ctx, mountpoint, mount, held);
}

async function subpathOf(
  ctx: EngineContext,
  root: string,
  { subpath }: MountSpec,
  held: AsyncDisposable[],
): Promise<string> {
  if (!subpath) return root;
  const opened = await ctx.files.subpath(root, subpath);
  held.push(opened);
  return opened.path;
}

/** `-v` makes a missing directory, `--mount` refuses it, both in Docker's words. */
async function checkBindSource(mount: MountSpec): Promise<void> {
  try {
    await stat(mount.source);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' || !mount.createSource) throw bindError(mount, error);
    await mkdir(mount.source, { recursive: true }).catch((cause: unknown) => {
      const message = `error while creating mount source path '${mount.source}': ${messageOf(cause)}`;
      throw isleError('invalidParameter', { message }, cause);
    });
  }
}

export function bindError(mount: MountSpec, cause: unknown): Error {
  const why =
    errnoOf(cause) === 'ENOENT' ? `bind source path does not exist: ${mount.source}` : messageOf(cause);
  return isleError('invalidParameter', { message: `invalid mount config for type "bind": ${why}` }, cause);
}

function tmpfsOptions({ tmpfs }: MountSpec): string[] {
  const options = ['noexec', 'nosuid', 'nodev', ...(tmpfs?.options ?? [])];
  if (tmpfs?.size !== undefined && tmpfs.size > 0) options.push(`size=${tmpfs.size}`);
  if (tmpfs?.mode !== undefined) options.push(`mode=${tmpfs.mode.toString(8)}`);
  return dropContradicted(options);
}

/** `exec` takes `noexec` away and so on: the later one wins. */
function dropContradicted(options: string[]): string[] {
  const opposite = (option: string) => (option.startsWith('no') ? option.slice(2) : `no${option}`);
  return options.filter((option, index) => !options.slice(index + 1).includes(opposite(option)));
}

function depth(path: string): number {
  return path.split('/').filter(Boolean).length;
}
