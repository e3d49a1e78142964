import { constants } from 'node:fs';
import { open, readlink, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Ending } from '../../engine/runtime.ts';
import { closeFd, O_PATH, openIn } from '../../host/paths.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';

/** What is known to bring up a distribution. `other`: an init, but none of these. */
export type InitKind = 'systemd' | 'sysvinit' | 'openrc' | 'busybox' | 'runit' | 'other';

export interface Init {
  /** As the workload sees it. */
  path: string;
  kind: InitKind;
}

/** What the kernel starts, and so do we. */
export const usualInit = '/sbin/init';

/** Where distributions have their init, in the order to look. */
const usualPaths = [usualInit, '/usr/sbin/init', '/lib/systemd/systemd', '/usr/lib/systemd/systemd'];

const initPaths = new Set([
  ...usualPaths,
  '/init',
  '/bin/init',
  '/usr/bin/init',
  '/usr/local/sbin/init',
  '/sbin/openrc-init',
  '/usr/sbin/openrc-init',
  '/sbin/runit-init',
  '/usr/sbin/runit-init',
]);

/** Whether a command boots a distribution rather than being a program like others. */
export function isInitCommand(command = ''): boolean {
  return initPaths.has(command);
}

/**
 * The init that `command` names in the root file system `root`. Where the usual one is asked for, other usual places
 * do too. Throws `noInit`.
 */
export async function findInit(root: string, command: string): Promise<Init> {
  const places = usualPaths.includes(command) ? [...new Set([command, ...usualPaths])] : [command];
  for (const path of places) {
    const kind = await kindAt(root, path);
    if (kind !== undefined) return { path, kind };
  }
  throw isleError('noInit', { path: command });
}

/** How each wants to be told to shut down: see its manual's section on signals. */
export function endingOf(kind: InitKind): Ending {
  return { signal: haltSignals[kind], timeout: patience };
}

/** Seconds. A service gets 90 s of systemd; most systems are down in 2. */
const patience = 30;

const haltSignals: Record<InitKind, number> = {
  systemd: 37, // SIGRTMIN+3: halt.target, systemd(1)
  sysvinit: 30, // SIGPWR: the powerwait line of /etc/inittab, init(8); see inittab.ts
  openrc: 15, // openrc-init(8)
  busybox: 12, // SIGUSR2: power off
  runit: 30,
  other: 30, // What LXC sends.
};

/** Undefined when there is no program at `path`. */
async function kindAt(root: string, path: string): Promise<InitKind | undefined> {
  let fd: number;
  try {
    fd = await openIn(root, path, O_PATH);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  try {
    const file = `/proc/self/fd/${fd}`;
    const name = basename(await readlink(file));
    return named(name) ?? (await kindOfProgram(file));
  } finally {
    closeFd(fd);
  }
}

function named(name: string): InitKind | undefined {
  if (name.startsWith('busybox')) return 'busybox';
  if (name.startsWith('openrc')) return 'openrc';
  if (name.startsWith('runit')) return 'runit';
  return name === 'systemd' ? 'systemd' : undefined;
}

/** Bytes of a program that are looked through: sysvinit has 50 KB. */
const maxLook = 4 * 1024 * 1024;

/** An init that is called just that: sysvinit is known by the table it reads. */
async function kindOfProgram(file: string): Promise<InitKind | undefined> {
  // Known before it is opened: a device of the host's may do something when that happens.
  const info = await stat(file);
  if (!info.isFile() || (info.mode & 0o111) === 0) return undefined;
  const handle = await open(file, constants.O_RDONLY);
  try {
    const buffer = Buffer.alloc(Math.min(info.size, maxLook));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return buffer.subarray(0, bytesRead).includes('/etc/inittab') ? 'sysvinit' : 'other';
  } finally {
    await handle.close();
  }
}
