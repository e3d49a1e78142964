import type { Namespace, Workload } from '../../engine/runtime.ts';
import type { OciNamespace } from './spec-types.ts';

/** The namespaces of a workload. A host namespace is one that is not listed. */
export function namespacesOf(workload: Workload): OciNamespace[] {
  const list: OciNamespace[] = [{ type: 'mount' }];
  if (workload.netns !== undefined) list.push({ type: 'network', path: workload.netns });
  push(list, 'pid', 'pid', workload.pid);
  push(list, 'ipc', 'ipc', workload.ipc === 'shareable' ? 'private' : workload.ipc);
  push(list, 'uts', 'uts', workload.uts);
  push(list, 'cgroup', 'cgroup', workload.cgroupns);
  return list;
}

function push(list: OciNamespace[], type: OciNamespace['type'], file: string, wanted: Namespace): void {
  if (wanted === 'host') return;
  if (typeof wanted === 'object') list.push({ type, path: `/proc/${wanted.pid}/ns/${file}` });
  else list.push({ type });
}
