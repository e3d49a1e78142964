import type { Bench } from './bench.ts';

/** What a container takes of the host's memory. Sizes are bytes. */
export interface Footprint {
  processes: { uid: number; memory: number; monitor: boolean }[];
  memory: number;
  swapped: number;
  guestMemory: number;
  ownKernel: boolean;
  prepared: { name: string; bytes: number }[];
}

interface Answer {
  Processes: { User: number; Memory: number; Monitor: boolean }[];
  Memory: number;
  Swapped: number;
  GuestMemory: number;
  OwnKernel: boolean;
  Prepared: { Name: string; Bytes: number }[];
}

export async function footprintOf(bench: Bench, id: string): Promise<Footprint> {
  const answer = await bench.client.get<Answer>(`/isle/v1/containers/${id}/footprint`);
  return {
    processes: answer.Processes.map(({ User, Memory, Monitor }) => ({
      uid: User,
      memory: Memory,
      monitor: Monitor,
    })),
    memory: answer.Memory,
    swapped: answer.Swapped,
    guestMemory: answer.GuestMemory,
    ownKernel: answer.OwnKernel,
    prepared: answer.Prepared.map(({ Name, Bytes }) => ({ name: Name, bytes: Bytes })),
  };
}

/**
 * What the isolation needs beside the workload. With a kernel of its own that is all but the guest's memory; otherwise
 * the monitors, as every other process is the workload's.
 */
export function monitorsOf({ processes, memory, guestMemory, ownKernel }: Footprint): number {
  if (ownKernel) return memory - guestMemory;
  return processes.filter(({ monitor }) => monitor).reduce((sum, one) => sum + one.memory, 0);
}
