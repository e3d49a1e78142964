import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readControl } from '../cgroup/files.ts';
import { detectCgroups } from '../cgroup/detect.ts';
import { mount, mountTable } from '../mount.ts';
import type { Finding } from './finding.ts';

const NAME = 'cgroups';

export async function checkCgroups(): Promise<Finding> {
  const unified = (await mountTable()).findLast((entry) => entry.type === 'cgroup2');
  const { mode } = await detectCgroups();
  const text = unified ? await readControl(join(unified.target, 'cgroup.controllers')) : '';
  return judgeCgroups(mode, (text ?? '').trim().split(' ').filter(Boolean));
}

/**
 * crun refuses a hybrid host whose cgroup2 mount still holds a controller ("cgroups in hybrid mode not supported, drop
 * all controllers from cgroupv2"). Mounting the controller as a v1 hierarchy takes it out of there.
 *
 * @param unified the controllers that the cgroup2 mount holds.
 */
export function judgeCgroups(mode: 'v1' | 'v2' | 'hybrid', unified: readonly string[]): Finding {
  const why = 'limits, statistics and freezing of containers go through control groups';
  if (mode === 'v2') return { name: NAME, status: 'ok', found: 'v2 (unified)', why };
  if (mode === 'v1' || unified.length === 0) return { name: NAME, status: 'ok', found: mode, why };
  const commands = unified.map((controller) => {
    const target = `/sys/fs/cgroup/${v1Name(controller)}`;
    return `mkdir -p ${target} && mount -t cgroup -o ${v1Name(controller)} cgroup ${target}`;
  });
  return {
    name: NAME,
    status: 'fail',
    found: `hybrid, and cgroup2 still holds ${unified.join(', ')}`,
    why: 'crun starts no container while a controller is left in the cgroup2 half of a hybrid host',
    advice: `${commands.join('; ')} (after every boot), or boot with systemd.unified_cgroup_hierarchy=1`,
    fix: { does: commands.join('; '), run: () => mountControllers(unified) },
  };
}

export async function checkControllers(): Promise<Finding> {
  const cgroups = await detectCgroups();
  const support = await cgroups.support();
  const missing: string[] = [];
  if (!support.memory) missing.push('memory limits');
  if (!support.swap) missing.push('swap limits');
  if (!support.cpuQuota) missing.push('CPU limits');
  if (!support.cpuset) missing.push('CPU pinning');
  if (!support.pids) missing.push('process limits');
  if (!support.blkioThrottle) missing.push('disk throttling');
  const why = 'a limit that the kernel cannot set is refused';
  const name = 'controllers';
  if (missing.length === 0) return { name, status: 'ok', found: [...cgroups.controllers].join(' '), why };
  return {
    name,
    status: 'warn',
    found: `no ${missing.join(', no ')}`,
    why,
    advice: 'boot with cgroup_enable=memory swapaccount=1, or a kernel with the missing controllers',
  };
}

async function mountControllers(controllers: readonly string[]): Promise<void> {
  for (const controller of controllers) {
    const name = v1Name(controller);
    const target = `/sys/fs/cgroup/${name}`;
    await mkdir(target, { recursive: true });
    await mount('cgroup', target, 'cgroup', 0, name);
  }
}

function v1Name(controller: string): string {
  return controller === 'io' ? 'blkio' : controller;
}
