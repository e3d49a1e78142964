import { readFile } from 'node:fs/promises';
import { nativeCalls } from './native.ts';
import { type MountEntry, parseMountTable } from './mount-table.ts';
import type { PlainMap } from './user-namespace.ts';

interface Calls {
  mount(
    source: string | null,
    target: string,
    type: string | null,
    flags: number,
    data: string | null,
  ): Promise<void>;
  umount(path: string, flags: number): Promise<void>;
  overlayByFd(target: string, lowers: string, options: string, flags: number): Promise<void>;
  canMap(path: string, userns: string): Promise<number>;
  mountInNetwork(netns: string, type: string, target: string, flags: number): Promise<void>;
  overlayMapped(
    target: string,
    layers: string,
    lowers: string,
    writable: string,
    options: string,
    hostId: number,
    size: number,
    apart: number,
  ): Promise<void>;
  bindTree(
    source: string,
    target: string,
    recursive: number,
    attributesSet: number,
    attributesClear: number,
    attributesRecursive: number,
    propagation: number,
    usernsFd: number,
    sourceFd: number,
    targetFd: number,
  ): Promise<void>;
  bindInto(mountNamespace: string, source: string, target: string): Promise<void>;
  mountSetattr(
    path: string,
    recursive: number,
    attributesSet: number,
    attributesClear: number,
    propagation: number,
  ): Promise<void>;
}

const calls = nativeCalls<Calls>()(
  'mount',
  'umount',
  'overlayByFd',
  'overlayMapped',
  'canMap',
  'mountInNetwork',
  'bindTree',
  'bindInto',
  'mountSetattr',
);

/** Flags of mount(2). */
export const MS = {
  rdonly: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  remount: 32,
  noatime: 1024,
  bind: 4096,
  move: 8192,
  rec: 16384,
  silent: 32768,
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
  relatime: 1 << 21,
} as const;

/** Attributes of mount_setattr(2). */
const ATTR = { rdonly: 1, nosuid: 2, nodev: 4, noexec: 8 } as const;

export type MountPropagation = 'private' | 'slave' | 'shared' | 'unbindable';

/** mount(2) as it is: `flags` are {@link MS}, `data` the file system's options (at most 4,095 bytes). */
export function mount(
  source: string | null,
  target: string,
  type: string | null,
  flags = 0,
  data: string | null = null,
): Promise<void> {
  return calls.mount(source, target, type, flags, data);
}

/** Whether what lies at `path` can be mounted with its owners translated by the user namespace at the path `userns`. */
export async function canMap(path: string, userns: string): Promise<boolean> {
  return (await calls.canMap(path, userns)) === 1;
}

/** Mounts a file system (sysfs) as it is in the network namespace at the path `netns`. */
export function mountInNetwork(netns: string, type: string, target: string, flags: number): Promise<void> {
  return calls.mountInNetwork(netns, type, target, flags);
}

export interface OverlayOptions {
  /** Read-only directories, top first. At least one, or two when there is no `upper`. */
  lowers: readonly string[];
  upper?: string;
  work?: string;
  /** More options of overlayfs: `['metacopy=off', 'userxattr']`. */
  options?: readonly string[];
  flags?: number;
}

/**
 * Mounts an overlay on `target`: absolute paths, any number of lower layers up to the kernel's 500. Paths may hold any
 * character.
 */
export async function overlayMount(target: string, options: OverlayOptions): Promise<void> {
  const { lowers, upper, work, flags = 0 } = options;
  const rest = [...(options.options ?? [])];
  if (upper !== undefined) rest.push(`upperdir=${escapeOption(upper)}`);
  if (work !== undefined) rest.push(`workdir=${escapeOption(work)}`);
  const data = [`lowerdir=${lowers.map(escapeLower).join(':')}`, ...rest].join(',');
  // mount(2) copies one page.
  if (Buffer.byteLength(data) < 4096) return calls.mount('overlay', target, 'overlay', flags, data);
  return calls.overlayByFd(target, lowers.map((lower) => `${lower}\0`).join(''), rest.join(','), flags);
}

export interface MappedOverlayOptions {
  /** Directory that holds the lower layers. Mounts below it do not count. */
  layers: string;
  /** Plain paths below `layers`, top first. At least one, 500 at most. */
  lowers: readonly string[];
  /** Directory with the directories `upper` and `work`. */
  writable: string;
  options?: readonly string[];
  /** The ids of the user namespace. What overlayfs makes by itself belongs to its root. */
  map: PlainMap;
  /** Uses only what kernels before 6.15 can. For tests. */
  apart?: boolean;
}

/**
 * Mounts an overlay for a user namespace: every owner in the layers is translated, in both directions, so that the disk
 * keeps them as they are inside. Nothing but the overlay stays. Throws `EINVAL` (with `mount_setattr` in the message when
 * the file system cannot do idmapped mounts) on kernels before 5.19.
 */
export function mappedOverlayMount(target: string, options: MappedOverlayOptions): Promise<void> {
  const { layers, lowers, writable, map } = options;
  return calls.overlayMapped(
    target,
    layers,
    lowers.map((lower) => `${lower}\0`).join(''),
    writable,
    (options.options ?? []).join(','),
    map.hostId,
    map.size,
    options.apart ? 1 : 0,
  );
}

export interface BindOptions {
  /** Whether mounts below `source` come along. Default: yes. */
  recursive?: boolean;
  readOnly?: boolean;
  /** Also makes the mounts below read-only (Linux 5.12). */
  recursiveReadOnly?: boolean;
  nosuid?: boolean;
  nodev?: boolean;
  noexec?: boolean;
  propagation?: MountPropagation;
  /** A user namespace (see `usernsFd` in user-namespace.ts) whose maps translate owners: an idmapped mount. */
  idmap?: number;
  /** Open descriptors that stand for the paths: what was checked is what is mounted. */
  sourceFd?: number;
  targetFd?: number;
}

/** Bind-mounts `source` (file or directory) on `target`; its attributes hold from the first moment. */
export function bindMount(source: string, target: string, options: BindOptions = {}): Promise<void> {
  let set = 0;
  if (options.readOnly || options.recursiveReadOnly) set |= ATTR.rdonly;
  if (options.nosuid) set |= ATTR.nosuid;
  if (options.nodev) set |= ATTR.nodev;
  if (options.noexec) set |= ATTR.noexec;
  return calls.bindTree(
    source,
    target,
    options.recursive === false ? 0 : 1,
    set,
    0,
    options.recursiveReadOnly ? 1 : 0,
    options.propagation === undefined ? 0 : MS[options.propagation],
    options.idmap ?? -1,
    options.sourceFd ?? -1,
    options.targetFd ?? -1,
  );
}

/**
 * Binds `source`, as this process sees it, over `target` in the mount namespace of process `pid`, in place of what is
 * mounted there. Links at the target's end are not followed; the rest of its path is that namespace's own affair.
 */
export function bindInto(pid: number, source: string, target: string): Promise<void> {
  return calls.bindInto(`/proc/${pid}/ns/mnt`, source, target);
}

/** Unmounts the top mount on `path`, never following a symlink. `detach`: at once, even when busy. */
export function unmount(path: string, options: { detach?: boolean } = {}): Promise<void> {
  const detach = 2;
  const nofollow = 8;
  return calls.umount(path, nofollow | (options.detach ? detach : 0));
}

/** Changes how mounts appearing under `path` travel to and from other namespaces. */
export function setPropagation(
  path: string,
  to: MountPropagation,
  options: { recursive?: boolean } = {},
): Promise<void> {
  return calls.mountSetattr(path, options.recursive ? 1 : 0, 0, 0, MS[to]);
}

/** Makes a mount read-only (or writable again), with all mounts below it when `recursive`. */
export function setReadOnly(
  path: string,
  readOnly: boolean,
  options: { recursive?: boolean } = {},
): Promise<void> {
  const [set, clear] = readOnly ? [ATTR.rdonly, 0] : [0, ATTR.rdonly];
  return calls.mountSetattr(path, options.recursive ? 1 : 0, set, clear, 0);
}

/** Every mount of this mount namespace, or of process `pid`'s, in the order they were made. */
export async function mountTable(pid: number | 'self' = 'self'): Promise<MountEntry[]> {
  return parseMountTable(await readFile(`/proc/${pid}/mountinfo`, 'latin1'));
}

export type { MountEntry };

/** overlayfs splits its options at `,` and its lower layers at `:`; a backslash keeps either. */
function escapeLower(path: string): string {
  return path.replace(/[\\,:]/g, '\\$&');
}

function escapeOption(path: string): string {
  return path.replace(/[\\,]/g, '\\$&');
}
