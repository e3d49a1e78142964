import { chownSync, constants, statSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { IdMap, Workload } from '../../engine/runtime.ts';
import { MS, mount, mountInNetwork, unmount } from '../../host/mount.ts';
import { NetworkJob } from '../../host/network-job.ts';
import { must, openTree, tree } from '../../host/tree.ts';
import { errnoOf, isleError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { StagedPaths } from './spec-mounts.ts';
import type { OciDevice, OciSpec } from './spec-types.ts';
import type { UserNamespace } from './user-namespace.ts';

/**
 * File systems that the OCI runtime cannot make in a user namespace, made by us in the bundle for it to bind:
 * `dev` because there nobody may make device nodes, and those of the host would come in with their owners (and be given
 * to the container: crun changes the owner of what is its stdin); `sys` because that of a network namespace
 * which belongs to somebody else may not be mounted, and the host's would show the host's network.
 */
export type Staged = 'dev' | 'sys' | 'shm';

export function stagedPath(bundle: string, what: Staged): string {
  return join(bundle, what);
}

/** What is staged for one workload. */
export class Staging {
  readonly paths: StagedPaths;
  #bundle: string;
  #workload: Workload;
  #directories: string[] = [];
  #devices: OciDevice[] = [];
  /** The network namespace is somebody else's: its /sys cannot be mounted from inside. */
  #foreignSys = false;
  #sysctls: [string, string][] = [];

  constructor(bundle: string, workload: Workload, userns: UserNamespace | undefined) {
    this.#bundle = bundle;
    this.#workload = workload;
    if (userns === undefined) {
      this.paths = {};
      return;
    }
    const { netns } = workload;
    this.#foreignSys = !userns.ownsNetwork && netns !== undefined;
    this.paths = {
      dev: stagedPath(bundle, 'dev'),
      ...(this.#foreignSys && { sys: stagedPath(bundle, 'sys') }),
      ...(netns === undefined && { sys: '/sys' }),
    };
  }

  /** Takes over from the OCI runtime what it could not do in there. */
  takeFrom({ linux, mounts }: OciSpec): void {
    if (this.paths.dev !== undefined) this.#devices = linux.devices.splice(0);
    // crun makes no directory to mount a proc or sysfs on, other than in the root (CVE-2023-27561).
    this.#directories = mounts
      .filter(
        ({ type, destination }) => (type === 'proc' || type === 'sysfs') && destination.startsWith('/dev/'),
      )
      .map(({ destination }) => destination);
    if (!this.#foreignSys) return;
    this.#sysctls = Object.entries(linux.sysctl ?? {}).filter(([name]) => name.startsWith('net.'));
    for (const [name] of this.#sysctls) delete linux.sysctl?.[name];
  }

  async make(): Promise<void> {
    const { idMap, netns } = this.#workload;
    if (this.paths.dev === undefined || !idMap) return;
    failpoint('runtime.staging.before');
    await this.#stageDevices(idMap);
    failpoint('runtime.staging.after');
    if (!this.#foreignSys || netns === undefined) return;
    await stageSys(this.#bundle, netns);
    const job = new NetworkJob().enter(netns);
    for (const [name, value] of this.#sysctls) job.write(`/proc/sys/${name.replaceAll('.', '/')}`, value);
    await job.run().catch((error: unknown) => {
      throw isleError('invalidParameter', { message: `a sysctl cannot be set: ${messageOf(error)}` }, error);
    });
  }

  /** The container has them now. */
  async clear(): Promise<void> {
    if (this.paths.dev === undefined) return;
    failpoint('runtime.unstage.before');
    await unstage(this.#bundle, 'dev');
    if (this.#foreignSys) await unstage(this.#bundle, 'sys');
  }

  /** A `/dev` with the nodes every container has and those asked for, owned by the namespace's root. */
  async #stageDevices(map: IdMap): Promise<void> {
    const path = stagedPath(this.#bundle, 'dev');
    await mkdir(path, { mode: 0o700 });
    const owner = `uid=${map.hostId},gid=${map.hostId}`;
    await mount('tmpfs', path, 'tmpfs', MS.nosuid, `mode=755,size=65536k,${owner}`);
    const root = openTree(path);
    try {
      for (const [name, target] of links) makeLink(root, name, target, map.hostId);
      for (const device of [...usual, ...this.#devices]) makeNode(root, device, map);
      for (const directory of this.#directories) makeDirectory(root, directory, map.hostId);
      // For the terminal to be mounted on.
      if (this.#workload.tty) makeFile(root, 'console', map.hostId);
    } finally {
      tree.treeClose(root);
    }
  }
}

/**
 * crun makes the container's root the owner of its standard streams, also of the host's /dev/null when that is its
 * stdin (the newer ones leave devices alone). Nothing of the container has run by then; inside it has a /dev/null of its own.
 */
export function restoreNull(): void {
  const { uid, gid } = statSync('/dev/null');
  if (uid !== 0 || gid !== 0) chownSync('/dev/null', 0, 0);
}

async function stageSys(bundle: string, netns: string): Promise<void> {
  const path = stagedPath(bundle, 'sys');
  await mkdir(path, { mode: 0o700 });
  await mountInNetwork(netns, 'sysfs', path, MS.nosuid | MS.nodev | MS.noexec);
}

/** Takes away what was staged, also by an earlier daemon. What a container uses of it stays there. */
export async function unstageAll(bundle: string): Promise<void> {
  for (const what of ['dev', 'sys', 'shm'] as const) await unstage(bundle, what);
}

async function unstage(bundle: string, what: Staged): Promise<void> {
  const path = stagedPath(bundle, what);
  const there = await stat(path).then(
    () => true,
    () => false,
  );
  if (!there) return;
  try {
    await unmount(path, { detach: true });
  } catch (error) {
    // EINVAL: the directory was made, the mount was not.
    if (errnoOf(error) !== 'EINVAL' && errnoOf(error) !== 'ENOENT') throw error;
  }
}

const links: [string, string][] = [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['core', '/proc/kcore'],
  ['ptmx', 'pts/ptmx'],
];

const usual: OciDevice[] = [
  ['null', 1, 3] as const,
  ['zero', 1, 5] as const,
  ['full', 1, 7] as const,
  ['random', 1, 8] as const,
  ['urandom', 1, 9] as const,
  ['tty', 5, 0] as const,
].map(([name, major, minor]) => ({
  type: 'c',
  path: `/dev/${name}`,
  major,
  minor,
  fileMode: 0o666,
  uid: 0,
  gid: 0,
}));

function makeLink(root: number, name: string, target: string, owner: number): void {
  must(tree.treeSymlink(target, root, name, owner, owner, seconds(), 0), 'symlink', name);
}

/** With its parents; a clean path below /dev. */
function makeDirectory(root: number, path: string, owner: number): void {
  let at = root;
  try {
    for (const name of path.split('/').slice(2)) at = enter(root, at, name, owner);
  } finally {
    if (at !== root) tree.treeClose(at);
  }
}

function makeFile(root: number, name: string, owner: number): void {
  must(tree.treeWriteFile(root, name, Buffer.alloc(0), 0o600, owner, owner, seconds(), 0), 'open', name);
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** The path is clean; its directories are made. */
function makeNode(root: number, device: OciDevice, { hostId, size }: IdMap): void {
  if (!device.path.startsWith('/dev/'))
    throw isleError('invalidParameter', {
      message: `device ${device.path}: in a user namespace devices can only be below /dev; or use --userns=host`,
    });
  const names = Buffer.from(device.path, 'utf8').toString('latin1').split('/').slice(2);
  const name = names.pop()!;
  let at = root;
  try {
    for (const directory of names) at = enter(root, at, directory, hostId);
    const type = device.type === 'b' ? 0o060000 : 0o020000;
    // An owner without an id inside: root.
    const [uid, gid] = [device.uid, device.gid].map((id) => hostId + (id < size ? id : 0)) as [
      number,
      number,
    ];
    const made = tree.treeMknod(
      at,
      name,
      type | device.fileMode,
      device.major,
      device.minor,
      uid,
      gid,
      seconds(),
      0,
    );
    if (made !== EEXIST) must(made, 'mknod', device.path);
  } finally {
    if (at !== root) tree.treeClose(at);
  }
}

function enter(root: number, parent: number, name: string, owner: number): number {
  let fd = tree.treeMkdir(parent, name, 0o755);
  if (fd === EEXIST) fd = tree.treeOpen(parent, name, constants.O_DIRECTORY | constants.O_NOFOLLOW, 0, 0);
  else if (fd >= 0) tree.treeChown(fd, '', owner, owner);
  if (parent !== root) tree.treeClose(parent);
  return must(fd, 'mkdir', name);
}

const EEXIST = -17;
