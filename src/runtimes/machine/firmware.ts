import { access, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineHardware, MachineSpec } from '../../engine/machine.ts';
import { runOk } from '../../host/run.ts';
import { isleError } from '../../lib/errors.ts';

/** Code and the variables that a new machine begins with, as the distributions lay them out. The first that is there. */
const firmware: Record<string, { code: string; variables: string }[]> = {
  'x86_64 uefi': [
    { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' },
    { code: '/usr/share/OVMF/OVMF_CODE.fd', variables: '/usr/share/OVMF/OVMF_VARS.fd' },
  ],
  // With Microsoft's keys: what they did not sign does not boot.
  'x86_64 uefi-secure': [
    { code: '/usr/share/OVMF/OVMF_CODE_4M.ms.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.ms.fd' },
    { code: '/usr/share/OVMF/OVMF_CODE.ms.fd', variables: '/usr/share/OVMF/OVMF_VARS.ms.fd' },
  ],
  'aarch64 uefi': [
    { code: '/usr/share/AAVMF/AAVMF_CODE.fd', variables: '/usr/share/AAVMF/AAVMF_VARS.fd' },
    { code: '/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd', variables: '/usr/share/AAVMF/AAVMF_VARS.fd' },
  ],
};

const packages: Record<MachineSpec['arch'], string> = {
  x86_64: 'ovmf',
  aarch64: 'qemu-efi-aarch64',
  riscv64: 'qemu-efi-riscv64',
};

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
  if (spec.firmware === 'bios') return undefined;
  const found = await firstThere(firmware[`${spec.arch} ${spec.firmware}`] ?? []);
  if (!found)
    throw isleError('unavailable', {
      message: `there is no firmware "${spec.firmware}" for ${spec.arch} on this host: install ${packages[spec.arch]}, or run isle doctor`,
    });
  const nvram = join(directory, nvramName);
  if (!(await there(nvram))) await makeNvram(found.variables, nvram);
  return { code: found.code };
}

/** From a file of the host's packages, whose format is known. */
async function makeNvram(variables: string, path: string): Promise<void> {
  const fresh = `${path}.new`;
  await rm(fresh, { force: true });
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  await runOk('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', variables, fresh]);
  await rename(fresh, path);
}

async function firstThere<T extends { code: string; variables: string }>(list: T[]): Promise<T | undefined> {
  for (const pair of list) if ((await there(pair.code)) && (await there(pair.variables))) return pair;
  return undefined;
}

async function there(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
