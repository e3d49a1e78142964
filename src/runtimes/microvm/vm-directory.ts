import { chown, mkdir, rename, writeFile } from 'node:fs/promises';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { bootFile } from './boot-file.ts';
import type { Confinement } from './confinement.ts';
import type { MicrovmLayout, VmPlace } from './layout.ts';
import { monitorPaths } from './monitor-paths.ts';
import { qemuCommand } from './qemu-command.ts';
import type { GuestSize } from './resources.ts';
import { virtiofsdCommand } from '../confined/virtiofsd-command.ts';

/** Throws `conflict` when there is one. */
export async function makeVmDirectory(path: string, id: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o711 });
  } catch (error) {
    throw errnoOf(error) === 'EEXIST' ? inUse(id, error) : error;
  }
}

/** The directory of a guest that was booted for nobody becomes that of `id`, with all that is mounted in it. */
export async function moveVmDirectory(layout: MicrovmLayout, from: string, id: string): Promise<void> {
  try {
    await rename(layout.vm(from).directory, layout.vm(id).directory);
  } catch (error) {
    throw ['EEXIST', 'ENOTEMPTY', 'EBUSY'].includes(errnoOf(error) ?? '') ? inUse(id, error) : error;
  }
}

/** What the shim shall start. `root`: the host's id of root inside. */
export async function writeBootFile(
  place: VmPlace,
  root: number,
  { host, kernel, tsc }: Confinement,
  { memory, cpus }: GuestSize,
  taps: { name: string; macAddress: string }[],
): Promise<void> {
  const qemu = qemuCommand({
    ...host,
    ...(tsc === undefined ? {} : { tsc }),
    type: host.machine,
    memory,
    cpus,
    kernel: monitorPaths.kernel,
    initramfs: monitorPaths.initramfs,
    kernelArguments: kernel.kernelArguments ?? '',
    taps,
  });
  await writeFile(place.boot, bootFile(virtiofsdCommand(host.virtiofsd, monitorPaths.share), qemu), {
    mode: 0o600,
  });
  await chown(place.boot, root, root);
}

function inUse(id: string, cause: unknown) {
  return isleError(
    'conflict',
    { message: `container ${id} has a run directory already: delete it first` },
    cause,
  );
}
