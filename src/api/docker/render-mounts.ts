import type { Container, MountPoint, MountSpec } from '../../engine/model.ts';

/** `Mounts` of inspect and list. */
export function renderMountPoint(mount: MountPoint): object {
  return {
    Type: mount.type,
    ...(mount.name !== undefined && { Name: mount.name }),
    Source: mount.source,
    Destination: mount.destination,
    ...(mount.driver !== undefined && { Driver: mount.driver }),
    Mode: mount.mode,
    RW: mount.readWrite,
    Propagation: mount.propagation,
  };
}

/** `HostConfig.Binds`, as `-v` was written. */
export function renderBinds(mounts: MountSpec[]): string[] {
  return mounts
    .filter((mount) => mount.origin === 'binds' && mount.source !== '')
    .map((mount) => [mount.source, mount.target, mount.mode].filter((part) => part !== undefined).join(':'));
}

/** `HostConfig.Tmpfs` */
export function renderTmpfs(mounts: MountSpec[]): Record<string, string> | undefined {
  const entries = mounts
    .filter((mount) => mount.origin === 'tmpfs')
    .map((mount) => [mount.target, mount.tmpfs?.options?.join(',') ?? ''] as const);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** `Config.Volumes`: the anonymous ones, the image's too. */
export function renderVolumes({ spec, mounts }: Container): Record<string, object> {
  const asked = spec.mounts.filter((mount) => mount.origin === 'binds' && mount.source === '');
  const targets = new Set(spec.mounts.map((mount) => mount.target));
  // What nobody asked for comes from the image, unless it is another container's.
  const images =
    spec.volumesFrom.length > 0
      ? []
      : mounts.filter((mount) => mount.type === 'volume' && !targets.has(mount.destination));
  const paths = [...asked.map((mount) => mount.target), ...images.map((mount) => mount.destination)];
  return Object.fromEntries(paths.map((path) => [path, {}]));
}

/** `HostConfig.Mounts` */
export function renderMounts(mounts: MountSpec[]): object[] | undefined {
  const rendered = mounts.filter((mount) => mount.origin === 'mounts').map(renderMount);
  return rendered.length === 0 ? undefined : rendered;
}

function renderMount(mount: MountSpec): object {
  return {
    Type: mount.type,
    ...(mount.source !== '' && { Source: mount.source }),
    Target: mount.target,
    ...(mount.readOnly && { ReadOnly: true }),
    ...optional('BindOptions', bindOptions(mount)),
    ...optional('VolumeOptions', volumeOptions(mount)),
    ...optional('TmpfsOptions', tmpfsOptions(mount)),
    ...(mount.type === 'image' && mount.subpath && { ImageOptions: { Subpath: mount.subpath } }),
  };
}

function bindOptions(mount: MountSpec): object {
  if (mount.type !== 'bind') return {};
  return {
    ...(mount.propagation && { Propagation: mount.propagation }),
    ...(mount.nonRecursive && { NonRecursive: true }),
    ...(mount.createSource && { CreateMountpoint: true }),
    ...(mount.readOnlyNonRecursive && { ReadOnlyNonRecursive: true }),
    ...(mount.readOnlyForceRecursive && { ReadOnlyForceRecursive: true }),
  };
}

function volumeOptions(mount: MountSpec): object {
  if (mount.type !== 'volume') return {};
  const driver = {
    ...(mount.driver && { Name: mount.driver }),
    ...(mount.driverOptions && { Options: mount.driverOptions }),
  };
  return {
    ...(mount.noCopy && { NoCopy: true }),
    ...(mount.labels && { Labels: mount.labels }),
    ...optional('DriverConfig', driver),
    ...(mount.subpath && { Subpath: mount.subpath }),
  };
}

function tmpfsOptions(mount: MountSpec): object {
  const { size, mode, options } = mount.tmpfs ?? {};
  return {
    ...(size !== undefined && { SizeBytes: size }),
    ...(mode !== undefined && { Mode: mode }),
    ...(options && { Options: options.map((option) => option.split('=')) }),
  };
}

function optional(name: string, value: object): object {
  return Object.keys(value).length === 0 ? {} : { [name]: value };
}
