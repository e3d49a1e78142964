import { existsSync } from 'node:fs';
import { emulatorFor, firmwareFor } from '../machine-tools.ts';
import type { Finding } from './finding.ts';
import { checkTool } from './tools.ts';

export async function checkQemuImg(): Promise<Finding> {
  return await checkTool({
    name: 'qemu-img',
    command: 'qemu-img',
    package: 'qemu-utils',
    oldest: '6.2',
    why: 'it makes and converts the disks of virtual machines; containers do not need it',
    missing: 'warn',
  });
}

/** UEFI for this processor's machines. */
export async function checkFirmware(): Promise<Finding> {
  const name = 'firmware';
  const why = 'virtual machines with UEFI boot by it; with BIOS they do not need it';
  const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const found = firmwareFor(arch, 'uefi');
  const secure = firmwareFor(arch, 'uefi-secure');
  if (found)
    return {
      name,
      status: 'ok',
      found: `${found.code}${secure ? ', and secure boot' : ', no secure boot'}`,
      why,
    };
  const advice = `apt-get install ${arch === 'aarch64' ? 'qemu-efi-aarch64' : 'ovmf'}`;
  return { name, status: 'warn', found: 'not installed', why, advice };
}

export async function checkSwtpm(): Promise<Finding> {
  const name = 'swtpm';
  const why = 'it is the TPM of virtual machines that ask for one';
  const path = '/usr/bin/swtpm';
  if (existsSync(path)) return { name, status: 'ok', found: path, why };
  return { name, status: 'warn', found: 'not installed', why, advice: 'apt-get install swtpm' };
}

/** Which processors machines can have; more is a matter of taste. */
export async function checkArchitectures(): Promise<Finding> {
  const all = ['x86_64', 'aarch64', 'riscv64'] as const;
  const there = all.filter((arch) => existsSync(`/usr/bin/${emulatorFor(arch).program}`));
  return {
    name: 'architectures',
    status: 'ok',
    found: there.length > 0 ? there.join(', ') : 'none',
    why: `virtual machines can have these processors${
      there.length < all.length
        ? `; others come with ${all
            .filter((arch) => !there.includes(arch))
            .map((arch) => emulatorFor(arch).package)
            .join(', ')}`
        : ''
    }`,
  };
}
