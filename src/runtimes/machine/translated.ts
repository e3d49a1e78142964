import type { MachineSpec } from '../../engine/machine.ts';

const mib = 1024 * 1024;

/** Without KVM QEMU keeps the guest's code translated, for each possible processor in so many regions... */
export const regionsPerVcpu = 8;

/** ...if each of them has these bytes (QEMU's tcg/region.c). */
export const regionSize = 2 * mib;

/** MiB; QEMU takes no more. */
const most = 2048;

/**
 * MiB of translated code that QEMU may keep; it would grow to 1 GiB. With 20 (which a booted guest fills) an idle machine takes 55 MB beyond
 * its memory. Where processors may come, each must find some that nobody has yet.
 */
export function translatedSize({ vcpus, maxVcpus = vcpus }: Pick<MachineSpec, 'vcpus' | 'maxVcpus'>): number {
  if (maxVcpus <= vcpus) return usualSize;
  return Math.min(most, Math.max(256, (regionsPerVcpu * maxVcpus * regionSize) / mib));
}

const usualSize = 20;

/** Bytes that a machine may take because of it, beyond others: as long as it runs, however many of its processors have come. */
export function translatedOverhead({ maxVcpus = 1 }: Pick<MachineSpec, 'maxVcpus'>): number {
  return (translatedSize({ vcpus: 1, maxVcpus }) - usualSize) * mib;
}
