import type { Bench } from './bench.ts';

/** GET /isle/v1/containers/ID/footprint. Sizes are bytes. */
export interface Footprint {
  processes: {
    pid: number;
    command: string;
    uid: number;
    memory: number;
    swapped: number;
    monitor: boolean;
  }[];
  memory: number;
  swapped: number;
  guestMemory: number;
  ownKernel: boolean;
  prepared: { name: string; bytes: number }[];
}

export async function footprintOf(bench: Bench, id: string): Promise<Footprint> {
  return await bench.client.get<Footprint>(`/isle/v1/containers/${id}/footprint`);
}

/**
 * What the isolation needs beside the workload. With a kernel of its own that is all but the guest's memory; otherwise
 * the monitors, as every other process is the workload's.
 */
export function monitorsOf({ processes, memory, guestMemory, ownKernel }: Footprint): number {
  if (ownKernel) return memory - guestMemory;
  return processes.filter(({ monitor }) => monitor).reduce((sum, one) => sum + one.memory, 0);
}
