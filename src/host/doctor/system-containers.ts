import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { detectCgroups } from '../cgroup/detect.ts';
import type { Finding } from './finding.ts';
import { checkTool } from './tools.ts';

export async function checkLxcfs(): Promise<Finding> {
  const why = 'it shows system containers their own limits in /proc; without it they see the host’s numbers';
  const finding = await checkTool({
    name: 'lxcfs',
    command: 'lxcfs',
    package: 'lxcfs',
    oldest: '4.0',
    why,
    missing: 'warn',
  });
  if (finding.status !== 'ok' || existsSync('/dev/fuse')) return finding;
  const found = `${finding.found}, but there is no /dev/fuse`;
  return { ...finding, status: 'warn', found, advice: 'modprobe fuse, or a kernel with CONFIG_FUSE_FS' };
}

/** Systemd takes nothing but the unified hierarchy for its own; on a hybrid host it has no limits to set there. */
export async function checkDelegation(): Promise<Finding> {
  const name = 'cgroup2-delegation';
  const why = 'a system container’s init gets a part of the unified control groups for its services';
  const { unified } = await detectCgroups();
  if (unified === undefined)
    return {
      name,
      status: 'warn',
      found: 'cgroup2 is not mounted',
      why,
      advice: 'mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified',
    };
  return judgeDelegation(unified, await readFile(join(unified, 'cgroup.controllers'), 'latin1'));
}

/** @param controllers of the hierarchy's root, as the kernel lists them. */
export function judgeDelegation(unified: string, controllers: string): Finding {
  const name = 'cgroup2-delegation';
  const why = 'a system container’s init gets a part of the unified control groups for its services';
  const list = controllers.trim().split(/\s+/).filter(Boolean);
  if (['cpu', 'memory', 'pids'].every((one) => list.includes(one)))
    return { name, status: 'ok', found: `${unified} with ${list.join(', ')}`, why };
  return {
    name,
    status: 'warn',
    found: `${unified} without controllers (hybrid): limits of the services inside (MemoryMax=) do nothing`,
    why,
    advice: 'boot with systemd.unified_cgroup_hierarchy=1; the container’s own limits hold either way',
  };
}
