import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { isleError } from '../../lib/errors.ts';
import type { ContainerRecord } from '../containers/record.ts';
import { checkName } from '../containers/names.ts';
import type { EngineContext } from '../context.ts';
import type { ContainerSpec, MountPoint, MountSpec } from '../model.ts';
import { resolveImageMount } from './images.ts';
import { bindError } from './prepare.ts';

export interface ResolvedMounts {
  specs: MountSpec[];
  /** Names of volumes made for this container alone. */
  anonymous: string[];
}

/**
 * Everything that will be mounted: what the spec says, then other containers' mounts (`--volumes-from`), then the
 * volumes that the image declares, one per target, the earlier source winning. Anonymous volumes get names here.
 */
export async function resolveMounts(
  ctx: EngineContext,
  spec: ContainerSpec,
  imageVolumes: string[],
): Promise<ResolvedMounts> {
  const byTarget = new Map<string, MountSpec>();
  const anonymous: string[] = [];
  const add = (mount: MountSpec, twice: 'refuse' | 'skip') => {
    if (!byTarget.has(mount.target)) byTarget.set(mount.target, mount);
    else if (twice === 'refuse')
      throw isleError('invalidParameter', { message: `Duplicate mount point: ${mount.target}` });
  };
  for (const mount of spec.mounts) add(await checked(ctx, mount), 'refuse');
  for (const mount of spec.volumesFrom.flatMap((from) => mountsFrom(ctx, from))) add(mount, 'skip');
  for (const target of imageVolumes) add(imageVolume(target), 'skip');
  const specs = [...byTarget.values()].map((mount) => {
    if (mount.type !== 'volume' || mount.source !== '') return mount;
    const name = randomBytes(32).toString('hex');
    anonymous.push(name);
    return { ...mount, source: name };
  });
  return { specs, anonymous };
}

async function checked(ctx: EngineContext, mount: MountSpec): Promise<MountSpec> {
  const target = cleanTarget(mount.target);
  if (mount.type === 'bind') {
    if (!posix.isAbsolute(mount.source))
      throw isleError('invalidParameter', {
        message: `invalid mount config for type "bind": invalid mount path: '${mount.source}' mount path must be absolute`,
      });
    if (!mount.createSource) {
      await stat(mount.source).catch((error: unknown) => {
        throw bindError(mount, error);
      });
    }
  }
  if (mount.type === 'image') return { ...resolveImageMount(ctx, mount), target };
  if (mount.type === 'volume' && mount.source !== '') checkName('volume', mount.source);
  return { ...mount, target };
}

function cleanTarget(target: string): string {
  if (!posix.isAbsolute(target) || target.includes('\0'))
    throw isleError('invalidParameter', {
      message: `invalid mount config: invalid mount path: '${target}' mount path must be absolute`,
    });
  const clean = posix.normalize(target).replace(/(.)\/$/, '$1');
  if (clean === '/')
    throw isleError('invalidParameter', {
      message: `invalid volume specification: '${target}': invalid mount config: destination can't be '/'`,
    });
  return clean;
}

/** `container[:ro|rw|z|Z]` */
function mountsFrom(ctx: EngineContext, from: string): MountSpec[] {
  const at = from.indexOf(':');
  const mode = at < 0 ? '' : from.slice(at + 1);
  if (!/^(|ro|rw|z|Z|(ro|rw),[zZ])$/.test(mode))
    throw isleError('invalidParameter', { message: `invalid mode for volumes-from: ${mode}` });
  const source: ContainerRecord = ctx.records.find(at < 0 ? from : from.slice(0, at));
  if (source.spec.machine)
    throw isleError('invalidParameter', {
      message: `"${source.name}" is a virtual machine: it has disks instead of volumes`,
    });
  return source.mountSpecs
    .filter((mount) => mount.type !== 'tmpfs')
    .map((mount) => ({ ...mount, readOnly: mount.readOnly || mode.startsWith('ro'), noCopy: true }));
}

/** Comes from the image: a path that cannot be one is the image's fault, and is said so. */
function imageVolume(target: string): MountSpec {
  return { type: 'volume', source: '', target: cleanTarget(target), readOnly: false, origin: 'image' };
}

/** How `inspect` shows a mount. */
export function mountPointOf(ctx: EngineContext, mount: MountSpec): MountPoint {
  const common = { destination: mount.target, readWrite: !mount.readOnly };
  const mode = modeOf(mount);
  if (mount.type === 'tmpfs') return { ...common, type: 'tmpfs', source: '', mode, propagation: '' };
  if (mount.type === 'bind' || mount.type === 'image')
    return {
      ...common,
      type: mount.type,
      source: mount.source,
      mode,
      propagation: mount.type === 'image' ? '' : (mount.propagation ?? 'rprivate'),
    };
  return {
    ...common,
    type: 'volume',
    name: mount.source,
    source: ctx.volumeFiles.path(mount.source),
    driver: 'local',
    mode,
    propagation: '',
  };
}

/** Docker shows the flags of `-v`; `z` stands for a volume given by name. */
function modeOf(mount: MountSpec): string {
  if (mount.mode !== undefined) return mount.mode;
  if (mount.origin === 'binds') return mount.readOnly ? 'ro' : mount.type === 'volume' ? 'z' : '';
  return mount.type === 'volume' && mount.origin === 'mounts' ? 'z' : '';
}
