import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineSpec } from '../../engine/machine.ts';
import { detectKvm } from '../../host/kvm.ts';
import { emulatorFor } from '../../host/machine-tools.ts';
import { virtiofsdPaths } from '../../host/microvm-tools.ts';
import { isleError } from '../../lib/errors.ts';
import type { MachineConfig } from './config.ts';

/** What this host runs machines with. What only some of them need is looked for when one does. */
export interface MachineHost {
  config: MachineConfig;
  vmm: string;
  /** This processor's, as machines say it. */
  arch: MachineSpec['arch'] | undefined;
  accelerator: 'kvm' | 'tcg';
  /** Why hardware virtualisation is not used. */
  why?: string;
}

/** Throws `unavailable` with what to install. */
export async function findHost(config: MachineConfig, vmm: string): Promise<MachineHost> {
  const arch = process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : undefined;
  const kvm = await detectKvm();
  const host: MachineHost = {
    config,
    vmm,
    arch,
    ...(kvm.usable ? { accelerator: 'kvm' } : { accelerator: 'tcg', why: kvm.why }),
  };
  await qemuFor(host, arch ?? 'x86_64');
  return host;
}

/** QEMU's program. Throws `unavailable`. */
export async function qemuFor({ config }: MachineHost, arch: MachineSpec['arch']): Promise<string> {
  const path = join(config.qemuDirectory ?? '/usr/bin', emulatorFor(arch).program);
  if (await runs(path)) return path;
  throw isleError('unavailable', {
    message: `machines for ${arch} need ${path}: install ${emulatorFor(arch).package}, or run isle doctor`,
  });
}

/** Throws `unavailable`. */
export async function virtiofsdFor({ config }: MachineHost): Promise<string> {
  for (const path of config.virtiofsd === undefined ? virtiofsdPaths : [config.virtiofsd])
    if (await runs(path)) return path;
  throw isleError('unavailable', {
    message: 'shared directories need virtiofsd: install virtiofsd (before Debian 13: qemu-system-common)',
  });
}

/** Throws `unavailable`. */
export async function swtpmFor({ config }: MachineHost): Promise<string> {
  const path = config.swtpm ?? '/usr/bin/swtpm';
  if (await runs(path)) return path;
  throw isleError('unavailable', { message: `a TPM needs ${path}: install swtpm, or run isle doctor` });
}

/** What a machine runs with, and why not KVM. Throws `unavailable` for KVM that cannot be. */
export function accelerationFor(
  host: MachineHost,
  { accelerator, arch }: Pick<MachineSpec, 'accelerator' | 'arch'>,
): { accelerator: 'kvm' | 'tcg'; why?: string } {
  if (arch !== host.arch) {
    if (accelerator === 'kvm')
      throw isleError('unavailable', { message: `this host cannot run a machine for ${arch} with KVM` });
    return { accelerator: 'tcg', why: `this host's processors are not of ${arch}` };
  }
  if (accelerator === 'tcg') return { accelerator, why: 'it was asked for' };
  if (accelerator === 'kvm' && host.why?.startsWith('there is no'))
    throw isleError('unavailable', { message: `KVM was asked for, but ${host.why}` });
  if (accelerator === 'kvm') return { accelerator };
  return { accelerator: host.accelerator, ...(host.why === undefined ? {} : { why: host.why }) };
}

/** What machines run with here, for people. */
export function accelerationOf({ accelerator, why }: MachineHost): string {
  return accelerator === 'kvm' ? 'KVM' : `TCG (emulated processors), since ${why}`;
}

async function runs(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
