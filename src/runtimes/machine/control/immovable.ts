import type { MachineSpec } from '../../../engine/machine.ts';
import { isleError } from '../../../lib/errors.ts';

/** Throws `conflict` for hardware whose state is outside of QEMU. It refuses these too, in words that name nothing of ours. */
export function refuseImmovable({ shares, pci, usb }: Pick<MachineSpec, 'shares' | 'pci' | 'usb'>): void {
  const why = [
    ...shares.map(({ tag }) => `its share ${tag}`),
    ...pci.map((address) => `its PCI device ${address}`),
    ...usb.map(() => 'its USB device of the host'),
  ];
  if (why.length > 0)
    throw isleError('conflict', {
      message: `the state of ${why.join(', ')} is outside of the machine, so its memory cannot be kept: detach that, or take a snapshot of its disks only (--disk-only)`,
    });
}
