import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Cgroups, CgroupSupport } from '../../host/cgroup/cgroup.ts';
import { parseSet } from './spec-resources.ts';

/** What this host's kernel and cgroups can limit. */
export interface HostLimits extends CgroupSupport {
  version: 1 | 2;
  /** Numbers of what may be used. */
  cpus: number[];
  memoryNodes: number[];
  /** The lowest oom_score_adj this process may hand on. */
  oomScoreAdj: number;
  /** This process's own, which its children inherit. */
  ownOomScoreAdj: number;
}

/** Looks once. `mayRaise`: whether this process has CAP_SYS_RESOURCE. */
export async function hostLimits(cgroups: Cgroups, mayRaise: boolean): Promise<HostLimits> {
  const own = Number(read('/proc/self/oom_score_adj').trim() || 0);
  const all = Array.from({ length: availableParallelism() }, (_, n) => n);
  return {
    ...(await cgroups.support()),
    version: cgroups.mode === 'v2' ? 2 : 1,
    cpus: parseSet(read('/sys/devices/system/cpu/online')) ?? all,
    memoryNodes: parseSet(read('/sys/devices/system/node/online')) ?? [0],
    oomScoreAdj: mayRaise ? -1000 : own,
    ownOomScoreAdj: own,
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
