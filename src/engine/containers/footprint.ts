import { memoryOfProcess, parentOfProcess, type ProcessMemory } from '../../host/process-memory.ts';
import type { EngineContext } from '../context.ts';
import type { Footprint } from '../engine.ts';
import { requireRunning } from './records.ts';

/**
 * What a running container takes of the host's memory: every process that the runtime names, and the monitors above
 * them. The daemon, and what is above it, is everybody's and nobody's.
 */
export async function containerFootprint(ctx: EngineContext, reference: string): Promise<Footprint> {
  const record = requireRunning(ctx.records, reference);
  const runtime = ctx.runtimeOf(record);
  const inside = await runtime.processes(record.id);
  const monitors = await monitorsOf(inside);
  const processes = await memoryOf([...new Set([...inside, ...monitors])], runtime.traits.ownKernel);
  const sum = (part: (one: ProcessMemory) => number) => processes.reduce((all, one) => all + part(one), 0);
  return {
    id: record.id,
    processes: processes.map(({ pid, command, uid, proportional, swapped }) => ({
      pid,
      command,
      uid,
      memory: proportional,
      swapped,
      monitor: monitors.has(pid),
    })),
    memory: sum((one) => one.proportional),
    swapped: sum((one) => one.swapped),
    guestMemory: runtime.traits.ownKernel ? sum((one) => one.sharedMappings) : 0,
    ownKernel: runtime.traits.ownKernel,
    prepared: (await runtime.preparedFiles?.()) ?? [],
  };
}

/** Processes that are looked at together: a workload may have thousands, and each takes the kernel some time. */
const together = 16;

async function memoryOf(pids: readonly number[], mappings: boolean): Promise<ProcessMemory[]> {
  const found: ProcessMemory[] = [];
  for (let at = 0; at < pids.length; at += together) {
    const batch = pids.slice(at, at + together).map((pid) => memoryOfProcess(pid, { mappings }));
    found.push(...(await Promise.all(batch)).filter((one) => one !== undefined));
  }
  return found;
}

/** The ancestors of `pids` below the host's first process and below this daemon's own line. */
async function monitorsOf(pids: readonly number[]): Promise<Set<number>> {
  const own = await ownLine();
  const inside = new Set(pids);
  const monitors = new Set<number>();
  for (const pid of pids) {
    let parent = await parentOfProcess(pid);
    while (parent !== undefined && !own.has(parent) && !monitors.has(parent)) {
      if (!inside.has(parent)) monitors.add(parent);
      parent = await parentOfProcess(parent);
    }
  }
  return monitors;
}

async function ownLine(): Promise<Set<number>> {
  const line = new Set([0, 1, process.pid]);
  let parent: number | undefined = process.ppid;
  while (parent !== undefined && !line.has(parent)) {
    line.add(parent);
    parent = await parentOfProcess(parent);
  }
  return line;
}
