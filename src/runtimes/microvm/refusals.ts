import { posix } from 'node:path';
import type { Namespace, Workload } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';

/** Throws `invalidParameter` for whatever only a process of the host's kernel can have. */
export function refuseHostThings(workload: Workload): void {
  const namespaces: [string, Namespace | 'shareable'][] = [
    ['PID', workload.pid],
    ['IPC', workload.ipc],
    ['UTS', workload.uts],
    // What clients make of --privileged when nobody says: it means the guest's.
    ['cgroup', workload.privileged && workload.cgroupns === 'host' ? 'private' : workload.cgroupns],
  ];
  for (const [name, wanted] of namespaces)
    if (wanted === 'host' || typeof wanted === 'object')
      throw refused(
        `it cannot share a ${name} namespace with ${wanted === 'host' ? 'the host' : 'another container'}`,
      );
  if (workload.netns === undefined)
    throw refused("it cannot use the host's network: give it a network, or none");
  if (workload.devices.length > 0)
    throw refused(`it cannot have the host's device ${workload.devices[0]?.hostPath}`);
  if (workload.deviceCgroupRules.length > 0) throw refused('device rules have no meaning in it');
  for (const { target, propagation } of workload.mounts)
    if (propagation !== undefined && !['private', 'rprivate'].includes(propagation))
      throw refused(`mounts cannot travel between it and the host (${propagation} on ${target})`);
  if (workload.resources.oomKillDisable) throw refused('the OOM killer of its kernel cannot be disabled');
  refuseHiddenMounts(workload);
}

/** A microVM's own file systems come after the share, in which its binds lie. */
function refuseHiddenMounts({ mounts }: Workload): void {
  const own = [
    '/proc',
    '/sys',
    '/dev',
    ...mounts.filter(({ type }) => type === 'tmpfs').map(({ target }) => clean(target)),
  ];
  for (const { type, target } of mounts) {
    if (type !== 'bind') continue;
    const above = own.find((path) => clean(target) === path || clean(target).startsWith(`${path}/`));
    if (above !== undefined)
      throw refused(
        `nothing of the host can be mounted on ${target}: ${above} is a file system of the guest's own`,
      );
  }
}

function clean(path: string): string {
  return posix.normalize(path).replace(/(.)\/+$/, '$1');
}

function refused(why: string) {
  return isleError('invalidParameter', { message: `a microVM has a kernel of its own: ${why}` });
}
