import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cgroups } from '../../host/cgroup/cgroup.ts';
import { watchPid } from '../../host/pidfd.ts';
import { isAlive } from '../../host/process.ts';
import type { ContainerOptions } from './container.ts';
import { waitsAtGate } from './gate.ts';
import type { Layout } from './layout.ts';
import { findMonitor } from './monitor-process.ts';
import { isoTime, type NumberFiles } from './number-files.ts';
import { readNumber, readRecord } from './record.ts';
import { recordedStartTime } from './state-file.ts';

export interface RecoveryParts {
  layout: Layout;
  cgroups: Cgroups;
  exits: NumberFiles;
  boot: string;
}

/** What an earlier daemon left of a workload, enough to watch it on. */
export type Remains = Omit<ContainerOptions, 'bundle' | 'cgroup' | 'exits'> & {
  state: 'created' | 'running' | 'paused' | 'exited';
  startedAt?: string;
};

/** Undefined when there is nothing to watch: no record, or no process ever came to be. */
export async function findRemains(parts: RecoveryParts, id: string): Promise<Remains | undefined> {
  const bundle = parts.layout.bundle(id);
  const record = await readRecord(bundle);
  if (!record) return undefined;
  const over = {
    id,
    record,
    pid: 0,
    startTime: -1,
    monitorEnded: Promise.resolve(),
    state: 'exited',
  } as const;
  if (await parts.exits.read(id)) return over;
  // Another boot ended whatever ran, and nobody saw how.
  if (record.bootId !== parts.boot) return over;
  const found = await findProcess(parts.layout, id, bundle);
  if (!found) return (await parts.exits.read(id)) ? over : undefined;
  const { pid, startTime, monitorEnded } = found;
  const common = { id, record, pid, startTime, monitorEnded };
  if (!isAlive(pid, startTime)) return { ...common, state: 'exited' };
  const state = join(parts.layout.state, id);
  if (await waitsAtGate(state)) return { ...common, state: 'created' };
  const [info, frozen] = await Promise.all([
    stat(state, { bigint: true }),
    parts.cgroups.cgroup(record.cgroup).frozen(),
  ]);
  // Opening the gate removed it from this directory: the last change to it.
  return { ...common, state: frozen ? 'paused' : 'running', startedAt: isoTime(info.mtimeNs) };
}

interface FoundProcess {
  pid: number;
  startTime: number;
  monitorEnded: Promise<void>;
}

/** The bundle's process. A daemon may have died while it was being made: its monitor finishes that. */
async function findProcess(layout: Layout, id: string, bundle: string): Promise<FoundProcess | undefined> {
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    const monitor = await findMonitor(bundle);
    const [pid, startTime] = await Promise.all([
      readNumber(join(bundle, 'pid')),
      recordedStartTime(join(layout.state, id)),
    ]);
    if (pid !== undefined && startTime !== undefined) {
      const monitorEnded = monitor
        ? watchPid(monitor.pid, monitor.startTime, { ref: false })
        : Promise.resolve();
      return { pid, startTime, monitorEnded };
    }
    if (!monitor) return undefined;
    await delay(pause);
  }
}
