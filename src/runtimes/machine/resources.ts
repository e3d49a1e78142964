import type { MachineSpec } from '../../engine/machine.ts';
import type { Resources } from '../../engine/model.ts';
import { translatedOverhead } from './translated.ts';

const mib = 1024 * 1024;

/**
 * Bytes that the monitor may take beside the guest's memory: QEMU with its translated code and its disks' tables, helpers, and
 * pages of files, which the kernel drops when it must.
 */
const overhead = 256 * mib;

/** The limits of a machine's control group. */
export function machineResources(
  resources: Resources,
  { memory, maxMemory, graphics, maxVcpus }: MachineSpec,
): Resources {
  const { memorySwap = 0, memoryReservation: _, ...rest } = resources;
  const screen = graphics ? 128 * mib : 0;
  const limit = Math.max(memory, maxMemory ?? 0) + overhead + screen + translatedOverhead({ maxVcpus });
  return {
    ...rest,
    memory: limit,
    ...(memorySwap === 0 ? {} : { memorySwap: memorySwap < 0 ? -1 : limit + memorySwap }),
  };
}
