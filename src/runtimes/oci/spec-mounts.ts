import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import type { Workload, WorkloadMount } from '../../engine/runtime.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { lazyTable, mapBind } from './mapped-binds.ts';
import { initTarget } from './spec-process.ts';
import type { OciMount } from './spec-types.ts';
import type { UserNamespace } from './user-namespace.ts';

/** Directories of ours that take the place of file systems which the OCI runtime would make. */
export interface StagedPaths {
  dev?: string;
  sys?: string;
  /** What becomes /dev/shm when that is shared with other workloads. */
  shm?: string;
}

/** Every mount of a workload in the order to make them: defaults that nothing replaces, then the asked-for ones. */
export async function mountsOf(
  workload: Workload,
  initPath: string,
  staged: StagedPaths,
  userns?: UserNamespace,
): Promise<OciMount[]> {
  const wanted = workload.mounts.map((mount) => ({ mount, target: targetOf(mount.target) }));
  const taken = new Set(wanted.map(({ target }) => target));
  const ownDev = taken.has('/dev');
  const defaults = defaultMounts(workload, staged).filter(
    ({ destination }) => !taken.has(destination) && !(ownDev && destination.startsWith('/dev/')),
  );
  wanted.sort((a, b) => depth(a.target) - depth(b.target));
  const table = userns && lazyTable();
  const asked = await inTurn(wanted, async ({ mount, target }) => {
    const made = await ociMount(mount, target);
    return userns && table ? await mapBind(mount, made, userns, table) : [made];
  });
  if (workload.init) {
    await checkInit(initPath);
    asked.push({
      destination: initTarget,
      type: 'bind',
      source: initPath,
      options: ['bind', 'ro', 'nosuid', 'nodev'],
    });
  }
  return [...defaults, ...asked];
}

async function inTurn<T>(items: T[], make: (item: T) => Promise<OciMount[]>): Promise<OciMount[]> {
  return (await Promise.all(items.map(make))).flat();
}

async function checkInit(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (!there?.isFile())
    throw invalid(`an init was asked for, but ${path} is missing: install catatonit, or run isle doctor`);
}

/** How the container's root takes part in propagation: as its most sharing mount needs, as runc wants it. */
export function rootPropagation(mounts: WorkloadMount[]): string | undefined {
  const asked = mounts.map((mount) => mount.propagation);
  if (asked.some((mode) => mode === 'shared' || mode === 'rshared')) return 'rshared';
  if (asked.some((mode) => mode === 'slave' || mode === 'rslave')) return 'rslave';
  return undefined;
}

function defaultMounts(workload: Workload, staged: StagedPaths): OciMount[] {
  const locked = ['nosuid', 'noexec', 'nodev'];
  const access = workload.privileged ? 'rw' : 'ro';
  const list: OciMount[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: locked },
    staged.dev === undefined
      ? {
          destination: '/dev',
          type: 'tmpfs',
          source: 'tmpfs',
          options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
        }
      : { destination: '/dev', type: 'bind', source: staged.dev, options: ['bind', 'rprivate', 'nosuid'] },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    staged.sys === undefined
      ? { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...locked, access] }
      : {
          destination: '/sys',
          type: 'bind',
          source: staged.sys,
          options: ['bind', 'rprivate', ...locked, access],
        },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: [...locked, 'relatime', access],
    },
  ];
  const queues = queuesOf(workload);
  if (queues) list.push({ destination: '/dev/mqueue', ...queues });
  const shared = workload.ipc === 'host' ? '/dev/shm' : staged.shm;
  if (shared !== undefined)
    list.push({ destination: '/dev/shm', type: 'bind', source: shared, options: ['rbind', ...locked] });
  else if (workload.ipc !== 'none')
    list.push({
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...locked, 'mode=1777', `size=${workload.shmSize}`],
    });
  return list;
}

/** Those of the host may not be mounted from a user namespace, but bound. */
function queuesOf({ ipc, idMap }: Workload): Omit<OciMount, 'destination'> | undefined {
  const locked = ['nosuid', 'noexec', 'nodev'];
  if (ipc !== 'host' || !idMap) return { type: 'mqueue', source: 'mqueue', options: locked };
  const there = existsSync('/dev/mqueue');
  return there ? { type: 'bind', source: '/dev/mqueue', options: ['bind', ...locked] } : undefined;
}

async function ociMount(mount: WorkloadMount, target: string): Promise<OciMount> {
  return mount.type === 'tmpfs' ? tmpfs(mount, target) : await bind(mount, target);
}

function tmpfs(mount: WorkloadMount, target: string): OciMount {
  const options = mount.options ?? [];
  for (const option of options)
    if (!/^[\w=%.:-]+$/.test(option)) throw invalid(`invalid tmpfs option "${option}" for ${target}`);
  const defaults = [
    ['noexec', 'exec'],
    ['nosuid', 'suid'],
    ['nodev', 'dev'],
  ].flatMap(([on = '', off = '']) => (options.includes(off) ? [] : [on]));
  return {
    destination: target,
    type: 'tmpfs',
    source: 'tmpfs',
    options: [...new Set([...defaults, ...options, ...(mount.readOnly ? ['ro'] : [])])],
  };
}

async function bind(mount: WorkloadMount, target: string): Promise<OciMount> {
  if (!mount.source.startsWith('/') || mount.source.includes('\0'))
    throw invalid(`invalid mount source "${mount.source}" for ${target}: it must be an absolute path`);
  let info: Awaited<ReturnType<typeof stat>>;
  try {
    info = await stat(mount.source);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR')
      throw invalid(
        `invalid mount config for type "bind": bind source path does not exist: ${mount.source}`,
        error,
      );
    throw invalid(`cannot use mount source ${mount.source}: ${errnoOf(error)}`, error);
  }
  const options = [mount.nonRecursive ? 'bind' : 'rbind', mount.propagation ?? 'rprivate'];
  // crun does `rro` to directories only.
  const recursive = mount.recursiveReadOnly && !mount.nonRecursive && info.isDirectory();
  if (mount.readOnly) options.push(recursive ? 'rro' : 'ro');
  return {
    destination: target,
    type: 'bind',
    source: mount.source,
    options: [...options, ...(mount.options ?? [])],
  };
}

function targetOf(target: string): string {
  const path = posix.normalize(target).replace(/(.)\/+$/, '$1');
  if (!path.startsWith('/') || path === '/' || path.includes('\0'))
    throw invalid(`invalid mount target "${target}": it must be an absolute path below /`);
  return path;
}

function depth(path: string): number {
  return path.split('/').length;
}

function invalid(message: string, cause?: unknown) {
  return isleError('invalidParameter', { message }, cause);
}
