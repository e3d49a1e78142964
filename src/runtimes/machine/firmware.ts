import { existsSync } from 'node:fs';
import { access, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineHardware } from '../../engine/machine.ts';
import { firmwareFor, firmwarePackages } from '../../host/machine-tools.ts';
import { runOk } from '../../host/run.ts';
import { isleError } from '../../lib/errors.ts';

/** The name of a machine's UEFI variables in its directory. */
export const nvramName = 'nvram.qcow2';

/**
 * The UEFI of a machine, whose own variables are made when it has none yet. Undefined for one that boots without.
 * Throws `unavailable` with what to install.
 */
export async function prepareFirmware({
  spec,
  directory,
}: MachineHardware): Promise<{ code: string } | undefined> {
  if (spec.firmware === 'bios' && spec.arch === 'aarch64' && !spec.kernel)
    throw isleError('invalidParameter', {
      message: 'machines for aarch64 have no BIOS: take UEFI (--boot uefi), or give a kernel',
    });
  if (spec.firmware === 'bios') return undefined;
  const found = firmwareFor(spec.arch, spec.firmware);
  if (!found)
    throw isleError('unavailable', {
      message: `there is no firmware "${spec.firmware}" for ${spec.arch} on this host: install ${firmwarePackages[spec.arch]}, or run isle doctor`,
    });
  const nvram = join(directory, nvramName);
  if (!(await there(nvram))) await makeNvram(found.variables, nvram);
  return { code: found.code };
}

/** What OpenSBI starts where no kernel is given: as a BIOS does, it looks for something to boot. */
export function bootLoaderOf({ spec }: MachineHardware): string | undefined {
  const path = '/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf';
  const wanted = spec.arch === 'riscv64' && spec.firmware === 'bios' && !spec.kernel;
  return wanted && existsSync(path) ? path : undefined;
}

/**
 * From a file of the host's packages, whose format is known. Where a guest moves, its QEMU can write to the directory
 * meanwhile: what is written is the file that was made, whatever has its name by then.
 */
async function makeNvram(variables: string, path: string): Promise<void> {
  const fresh = `${path}.new`;
  await rm(fresh, { force: true });
  {
    await using file = await open(fresh, 'wx', 0o600);
    const opened = `/proc/${process.pid}/fd/${file.fd}`;
    await runOk('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', variables, opened]);
  }
  await rename(fresh, path);
}

async function there(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
