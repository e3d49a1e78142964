import { availableParallelism, totalmem } from 'node:os';
import type { Resources } from '../../engine/model.ts';
import { isleError } from '../../lib/errors.ts';
import type { MicrovmConfig } from './config.ts';

const mib = 1024 * 1024;

/** Bytes below which the guest's kernel and its initramfs do not come up. */
export const minimumMemory = 64 * mib;

/**
 * Bytes that the monitor may take beside the guest's memory: QEMU with its translated code, virtiofsd, the shim, and the
 * files of the host that virtiofsd reads and writes (which the kernel drops when it must).
 */
const overhead = 192 * mib;

/** What a guest is booted with. */
export interface GuestSize {
  /** bytes, whole MiB */
  memory: number;
  cpus: number;
}

/** Throws `invalidParameter` when the guest could not boot with it. */
export function sizeOf(resources: Resources, config: MicrovmConfig, accelerator: 'kvm' | 'tcg'): GuestSize {
  const memory = Math.floor((resources.memory || config.memory * mib) / mib) * mib;
  checkMemory(memory);
  return { memory, cpus: cpusOf(resources, config, accelerator) };
}

/** Throws `invalidParameter` when a guest cannot live with so many bytes, or the host does not have them. */
export function checkMemory(memory: number, host = totalmem()): void {
  if (memory < minimumMemory)
    throw isleError('invalidParameter', {
      message: `${Math.floor(memory / mib)} MiB are too little memory for a microVM, which has a kernel of its own: give it at least ${minimumMemory / mib} MiB (--memory)`,
    });
  // Its kernel keeps books on all of it before it starts anything: with too much of it, it never comes so far.
  if (memory > host)
    throw isleError('invalidParameter', {
      message: `${Math.floor(memory / mib)} MiB are more memory than this host has (${Math.floor(host / mib)} MiB), and a microVM's is taken from it: give it less (--memory)`,
    });
}

/** Under emulation a second processor costs more than it gives, unless somebody asks for it. */
function cpusOf(
  { nanoCpus = 0, cpuQuota = 0, cpuPeriod = 0 }: Resources,
  config: MicrovmConfig,
  accelerator: 'kvm' | 'tcg',
): number {
  const asked =
    nanoCpus > 0 ? nanoCpus / 1e9 : cpuQuota > 0 ? cpuQuota / (cpuPeriod || 100_000) : config.cpus;
  const most = Math.min(availableParallelism(), 64);
  if (asked > 0) return Math.max(1, Math.min(Math.ceil(asked), most));
  return accelerator === 'tcg' ? 1 : Math.min(2, most);
}

/** The limits of the monitor's control group for a guest of `memory` bytes. */
export function monitorResources(resources: Resources, memory: number): Resources {
  const { memorySwap = 0, memoryReservation = 0, pidsLimit: _, ...rest } = resources;
  const limits: Resources = { ...rest, memory: memory + overhead };
  if (memoryReservation > 0)
    limits.memoryReservation = Math.min(memoryReservation + overhead, memory + overhead);
  // Without swap the guest's memory cannot be paged out; a limit is of both together.
  if (memorySwap > 0) limits.memorySwap = memorySwap + overhead;
  if (memorySwap < 0) limits.memorySwap = memorySwap;
  return limits;
}
