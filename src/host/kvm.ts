import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { errnoOf } from '../lib/errors.ts';

/** Whether VMs may use hardware virtualisation here, and if not, why. */
export type Kvm = { usable: true; module: string } | { usable: false; why: string };

/**
 * Looks at /dev/kvm and the modules behind it. A nested PVM host has /dev/kvm, but a stock 64-bit kernel stalls in
 * early boot under it: `kvm_pvm` alone, without `kvm_intel` or `kvm_amd`, counts as unusable.
 *
 * @param root where /dev and /sys are looked for; for tests.
 */
export async function detectKvm(root = ''): Promise<Kvm> {
  try {
    await access(`${root}/dev/kvm`, constants.R_OK | constants.W_OK);
  } catch (error) {
    const why =
      errnoOf(error) === 'ENOENT' ? 'there is no /dev/kvm' : `/dev/kvm cannot be opened (${errnoOf(error)})`;
    return { usable: false, why };
  }
  for (const module of ['kvm_intel', 'kvm_amd']) {
    if (await exists(`${root}/sys/module/${module}`)) return { usable: true, module };
  }
  if (await exists(`${root}/sys/module/kvm_pvm`))
    return { usable: false, why: '/dev/kvm is nested PVM, under which stock kernels stall while booting' };
  // On arm64, and where it is built into the kernel, no vendor module shows.
  return { usable: true, module: 'kvm' };
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
