import type { Namespace, Workload } from '../../engine/runtime.ts';
import type { OciIdMapping, OciNamespace } from './spec-types.ts';
import type { UserNamespace } from './user-namespace.ts';

/** The namespaces of a workload. A host namespace is one that is not listed. */
export function namespacesOf(workload: Workload, userns?: UserNamespace): OciNamespace[] {
  const list: OciNamespace[] = [{ type: 'mount' }];
  if (userns) list.push({ type: 'user', path: userns.path });
  if (workload.netns !== undefined) list.push({ type: 'network', path: workload.netns });
  push(list, 'pid', 'pid', workload.pid);
  push(list, 'ipc', 'ipc', workload.ipc === 'shareable' ? 'private' : workload.ipc);
  push(list, 'uts', 'uts', workload.uts);
  push(list, 'cgroup', 'cgroup', workload.cgroupns);
  return list;
}

export function mappingsOf({ map }: UserNamespace): OciIdMapping[] {
  return [{ containerID: 0, hostID: map.hostId, size: map.size }];
}

function push(list: OciNamespace[], type: OciNamespace['type'], file: string, wanted: Namespace): void {
  if (wanted === 'host') return;
  if (typeof wanted === 'object') list.push({ type, path: `/proc/${wanted.pid}/ns/${file}` });
  else list.push({ type });
}
