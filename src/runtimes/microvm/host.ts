import { access, constants } from 'node:fs/promises';
import { detectKvm } from '../../host/kvm.ts';
import { emulatorOf, virtiofsdPaths } from '../../host/microvm-tools.ts';
import { runOk } from '../../host/run.ts';
import { isleError } from '../../lib/errors.ts';
import type { MicrovmConfig } from './config.ts';

/** What this host boots guests with. */
export interface MicrovmHost {
  qemu: string;
  virtiofsd: string;
  shim: string;
  accelerator: 'kvm' | 'tcg';
  /** Why hardware virtualisation is not used. */
  why?: string;
  machine: string;
  arch: string;
}

/** Finds the programs and the accelerator. Throws `unavailable` with what to install. */
export async function findHost(config: MicrovmConfig, shim: string): Promise<MicrovmHost> {
  const arch = process.arch;
  const emulator = emulatorOf(arch);
  if (!emulator)
    throw isleError('unavailable', { message: `microVMs run on x86-64 and arm64, not on ${arch}` });
  const machine = config.machine ?? (arch === 'arm64' ? 'virt' : 'microvm');
  if (arch === 'arm64' ? machine !== 'virt' : machine !== 'microvm' && machine !== 'q35')
    throw isleError('unavailable', {
      message: `microvm.machine is "${machine}": on ${arch} it must be ${arch === 'arm64' ? 'virt' : 'microvm or q35'}`,
    });
  const [qemu, virtiofsd, kvm] = await Promise.all([
    find(
      'QEMU',
      config.qemu,
      [`/usr/bin/${emulator.program}`, `/usr/local/bin/${emulator.program}`],
      emulator.package,
    ),
    find('virtiofsd', config.virtiofsd, virtiofsdPaths, 'virtiofsd (before Debian 13: qemu-system-common)'),
    detectKvm(),
    find('isle-shim', shim, [], 'Isle anew: sh scripts/build-native'),
  ]);
  const accelerated = kvm.usable
    ? { accelerator: 'kvm' as const }
    : { accelerator: 'tcg' as const, why: kvm.why };
  return { qemu, virtiofsd, shim, ...accelerated, machine, arch };
}

/** What guests run with, for people. */
export function accelerationOf({ accelerator, why }: MicrovmHost): string {
  return accelerator === 'kvm' ? 'KVM' : `TCG (emulated processors), since ${why}`;
}

/** kHz of the processor's time stamp counter, which an emulated guest has too; undefined where there is none. */
export async function tscOf(shim: string): Promise<number | undefined> {
  return Number((await runOk(shim, ['--tsc'])).stdout) || undefined;
}

async function find(
  what: string,
  configured: string | undefined,
  usual: string[],
  from: string,
): Promise<string> {
  for (const path of configured === undefined ? usual : [configured]) {
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return path;
  }
  const where = configured === undefined ? '' : ` at ${configured}`;
  throw isleError('unavailable', {
    message: `${what} is not installed${where}: install ${from}, or run isle doctor`,
  });
}
