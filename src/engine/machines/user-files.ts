import { constants, realpathSync, statSync } from 'node:fs';
import { open, realpath, stat } from 'node:fs/promises';
import { sep } from 'node:path';
import { errnoOf, isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { MachineSpec } from '../machine.ts';
import { checkPath, shown } from './check-hardware.ts';
import { allMachines } from './record.ts';

type Kind = 'file' | 'directory' | 'disk';

/**
 * A path of the user's that a machine shall use, as the kernel resolves it. `what` names it in messages. Throws
 * `invalidParameter` when it is not there or something else, and for Isle's own files: they have owners already.
 */
export async function userFile(
  ctx: Pick<EngineContext, 'dataRoot' | 'runRoot'>,
  what: string,
  path: string,
  kind: Kind,
): Promise<string> {
  checkPath(what, path);
  const real = await realpath(path).catch((error: unknown) => {
    const why = errnoOf(error) === 'ENOENT' ? 'there is no such file' : String(errnoOf(error));
    throw isleError('invalidParameter', { message: `${what}: "${shown(path)}": ${why}` }, error);
  });
  const found = await stat(real);
  const fits =
    kind === 'directory' ? found.isDirectory() : found.isFile() || (kind === 'disk' && found.isBlockDevice());
  if (!fits)
    throw isleError('invalidParameter', {
      message: `${what}: "${shown(path)}" is no ${kind === 'directory' ? 'directory' : kind === 'disk' ? 'file or block device' : 'file'}`,
    });
  for (const root of [ctx.dataRoot, ctx.runRoot])
    if (isWithin(real, resolved(root)))
      throw isleError('invalidParameter', {
        message: `${what}: "${shown(path)}" lies below ${root}, which is Isle's own: name a disk of the store instead`,
      });
  return real;
}

function resolved(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory.endsWith(sep) ? directory : directory + sep);
}

/**
 * A block device that the host itself uses (mounted, part of a RAID, swapped to) cannot be written by a guest beside it.
 * Throws `conflict`.
 */
async function refuseUsedDevice(path: string, what: string): Promise<void> {
  try {
    // For a block device: exclusively, as who mounts it has it.
    await using _device = await open(path, constants.O_RDONLY | constants.O_EXCL);
  } catch (error) {
    if (errnoOf(error) !== 'EBUSY') throw error;
    throw isleError(
      'conflict',
      { message: `${what}: ${path} is in use on this host (see lsblk): unmount it first` },
      error,
    );
  }
}

/** Two machines, or a machine and its host, that write one file destroy it. Throws `conflict` naming the other. */
export async function refuseSharedFile(
  ctx: Pick<EngineContext, 'records'>,
  machine: string,
  disk: { path: string; readOnly: boolean; target: string },
): Promise<void> {
  if (!disk.readOnly && (await stat(disk.path)).isBlockDevice())
    await refuseUsedDevice(disk.path, `the disk ${disk.target}`);
  refuseFileOfOther(ctx, machine, disk);
}

/** The part of {@link refuseSharedFile} that can be done while nobody else does anything. */
export function refuseFileOfOther(
  ctx: Pick<EngineContext, 'records'>,
  machine: string,
  disk: { path: string; readOnly: boolean },
): void {
  const wanted = identityOf(disk.path);
  for (const { id, name, spec } of allMachines(ctx)) {
    for (const other of spec.machine.disks) {
      if (other.path === undefined || id === machine || (disk.readOnly && other.readOnly)) continue;
      if (other.path !== disk.path && identityOf(other.path) !== wanted) continue;
      throw isleError('conflict', {
        message: `"${shown(disk.path)}" is the disk ${other.target} of the machine "${name}": two machines that write one file destroy it`,
      });
    }
  }
}

function identityOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? path : `${found.dev}:${found.ino}:${found.rdev}`;
}

/**
 * Every file of the user's that the hardware names is there, and is what it should be. `own`: the machine's directory, where
 * the kernel of a restored one lies.
 */
export async function checkUserFiles(
  ctx: Pick<EngineContext, 'dataRoot' | 'runRoot'>,
  { kernel, cdroms, shares }: Pick<MachineSpec, 'kernel' | 'cdroms' | 'shares'>,
  own?: string,
): Promise<void> {
  if (kernel && !(own && isWithin(kernel.path, own))) {
    await userFile(ctx, 'the kernel', kernel.path, 'file');
    if (kernel.initrd !== undefined) await userFile(ctx, 'the initrd', kernel.initrd, 'file');
  }
  for (const { path } of cdroms) if (path !== undefined) await userFile(ctx, 'the CD', path, 'disk');
  for (const { source } of shares) await userFile(ctx, 'the shared directory', source, 'directory');
}
