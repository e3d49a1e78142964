import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { installationRoots } from './installation.ts';

/** Where the distributions put what runs a guest, and where Isle keeps its kernel. */

/** QEMU for this processor: its program, and the package that has it. Undefined where there are no microVMs. */
export function emulatorOf(arch: string): { program: string; package: string } | undefined {
  return emulators[arch];
}

const emulators: Record<string, { program: string; package: string }> = {
  x64: { program: 'qemu-system-x86_64', package: 'qemu-system-x86' },
  arm64: { program: 'qemu-system-aarch64', package: 'qemu-system-arm' },
};

/** The Rust one's first: Debian 12 has the older one in C. */
export const virtiofsdPaths: string[] = [
  '/usr/libexec/virtiofsd',
  '/usr/lib/qemu/virtiofsd',
  '/usr/lib/virtiofsd',
];

/** The directory with `vmlinuz` and `modules` that `scripts/fetch-guest` makes, if it has. */
export function fetchedKernel(): string | undefined {
  return installationRoots()
    .map((root) => join(root, '.cache/guest'))
    .find((path) => existsSync(join(path, 'vmlinuz')));
}
