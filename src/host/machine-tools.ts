import { existsSync } from 'node:fs';

/** Where the distributions put what runs full virtual machines. */

export type MachineArch = 'x86_64' | 'aarch64' | 'riscv64';

const packages: Record<MachineArch, string> = {
  x86_64: 'qemu-system-x86',
  aarch64: 'qemu-system-arm',
  riscv64: 'qemu-system-misc',
};

/** QEMU for an architecture: its program, and the package that has it. */
export function emulatorFor(arch: MachineArch): { program: string; package: string } {
  return { program: `qemu-system-${arch}`, package: packages[arch] };
}

/** A UEFI's code, and the variables that a new machine begins with. */
export interface FirmwareFiles {
  code: string;
  variables: string;
}

const firmware: Record<string, FirmwareFiles[]> = {
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
  'riscv64 uefi': [
    {
      code: '/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd',
      variables: '/usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd',
    },
  ],
};

/** The first that is installed. */
export function firmwareFor(arch: MachineArch, kind: 'uefi' | 'uefi-secure'): FirmwareFiles | undefined {
  return firmware[`${arch} ${kind}`]?.find(
    ({ code, variables }) => existsSync(code) && existsSync(variables),
  );
}

/** Debian's package with the UEFI for an architecture. */
export const firmwarePackages: Record<MachineArch, string> = {
  x86_64: 'ovmf',
  aarch64: 'qemu-efi-aarch64',
  riscv64: 'qemu-efi-riscv64',
};
